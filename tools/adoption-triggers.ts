import type pg from 'pg';

type Trigger = { name: string; table: string; function_name: string; is_enabled: boolean };
/** What a trigger does to Berth, and the statement with which it ends, and when. */
type Advice = { does: string; end: (trigger: Trigger) => string };

const atTheEnd = ({ name, table }: Trigger) => `At the end: drop trigger ${name} on ${table};`;

/** By the function that the trigger calls. docs/decisions.md has the reasons. */
const KNOWN: Record<string, Advice> = {
  create_mqtt_user_for_device: {
    does: 'gives three more ACLs to each device that registers with Berth or gets a new MQTT password',
    end: ({ name, table }) => `Right after the migration: alter table ${table} disable trigger ${name};`,
  },
  archive_device_api_key: {
    does: 'copies each hash of a device key that is replaced to device_api_key_history',
    end: (trigger) => `${atTheEnd(trigger)} truncate device_api_key_history;`,
  },
  ensure_one_default_broker: { does: 'unsets the old default broker, as Berth does', end: atTheEnd },
  update_updated_at_column: { does: 'sets updated_at, as Berth does', end: atTheEnd },
  update_modified_at_column: {
    does: 'sets modified_at at each write, so that more PUTs with If-Match are answered with 412',
    end: atTheEnd,
  },
};

const UNKNOWN: Advice = {
  does: 'is not known',
  end: ({ function_name }) => `Before the migration, read what ${function_name}() does`,
};

/** A line for each trigger on the tables, except Berth's own: what it does, and how it ends. */
export async function describeTriggers(client: pg.Client, tables: string[]): Promise<string[]> {
  const { rows } = await client.query<Trigger>(
    `select t.tgname as name, c.relname as "table", p.proname as function_name, t.tgenabled <> 'D' as is_enabled
     from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
     where not t.tgisinternal and t.tgname not like 'berth\\_%'
       and c.relnamespace = current_schema()::regnamespace and c.relname = any($1)
     order by c.relname, t.tgname`,
    [tables],
  );
  return rows.map((trigger) => {
    const { does, end } = KNOWN[trigger.function_name] ?? UNKNOWN;
    const state = trigger.is_enabled ? '' : ' (disabled)';
    return `${trigger.name} on ${trigger.table}${state}: ${does}. ${end(trigger)}`;
  });
}
