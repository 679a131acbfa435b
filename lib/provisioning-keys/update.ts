import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import { violates } from '../database/violates.ts';
import { brokerNotFound, nothingToUpdate, Problem, provisioningKeyNotFound } from '../errors.ts';
import { recordOperatorEvents } from '../events/record.ts';
import { type Target, targetProblem } from '../resolution/target.ts';
import { refuseChangedKey } from './get.ts';
import type { KeyUpdate } from './input.ts';
import { keyTag, type ListedKey, listedColumns, recordedKey } from './row.ts';

type Outcome = {
  found: boolean;
  tag_matches: boolean | null;
  /** Null: the broker does not exist, or none is named. */
  target: Target | null;
  /** Null, as all columns of the key: the request is refused. */
  tag: string | null;
  devices_affected: number | null;
} & ListedKey;

/**
 * Changes a provisioning key, also a revoked one. Devices that are assigned to a broker stay there, so another
 * `default_broker_id` is for new devices, and for those that follow the key.
 *
 * @param tags the entity tags of If-Match without quotes; undefined: whatever the key is now
 * @returns the key with the number of devices that belong to another broker now, and its new tag
 * @throws Problem `nothing-to-update`, `provisioning-key-not-found`, `precondition-failed`, `broker-not-found`,
 *   `broker-inactive`, `broker-draining`
 */
export async function updateProvisioningKey(ctx: Context, id: string, update: KeyUpdate, tags?: string[]) {
  if (Object.values(update).every((value) => value === undefined)) throw new Problem(nothingToUpdate);
  const [outcome] = await query<Outcome>(ctx, (sql) => updateStatement(sql, ctx, id, update, tags)).catch((error) => {
    // The broker was deleted while the statement ran.
    throw violates(error, 'foreign-key') ? new Problem(brokerNotFound) : error;
  });
  const { found, tag_matches, target, tag, ...body } = outcome as Outcome;
  if (!found) throw new Problem(provisioningKeyNotFound);
  if (!tag_matches) return refuseChangedKey(ctx, id);
  if (!tag) throw targetProblem(target);
  return { body, tag };
}

function updateStatement(sql: Sql, ctx: Context, id: string, update: KeyUpdate, tags: string[] | undefined) {
  const brokerId = update.default_broker_id ?? null;
  return sql<Outcome[]>`
    with before as (
      select * from provisioning_keys where id = ${id} for update
    ), tag as (
      select is_repeated, is_repeated or ${tags === undefined} or ${keyTag(sql)} = any(${tags ?? []}::text[]) as matches
      -- Repeated: an earlier attempt of this request was committed, and only its reply was lost.
      from before k, lateral (select coalesce(k.updated_request_id = ${ctx.requestId}, false) as is_repeated) request
    ), target as (
      select id, refusal from mqtt_broker_config where id = ${brokerId}
    ), wanted as (
      select id, coalesce(${update.max_devices ?? null}, max_devices) as max_devices,
             coalesce(${update.expires_at ?? null}::timestamptz at time zone 'utc',
               berth_now() + make_interval(days => ${update.expires_in_days ?? null}), expires_at) as expires_at,
             case when ${update.default_broker_id !== undefined} then ${brokerId}::integer
                  else default_broker_id end as default_broker_id,
             case when ${update.description !== undefined} then ${update.description ?? null}
                  else description end as description
      from before
    ), allowed as (
      -- Naming the broker that the key has already is allowed, whatever that broker accepts.
      select wanted.* from wanted, before, tag
      where tag.matches and not is_repeated and (
        wanted.default_broker_id is not distinct from before.default_broker_id or wanted.default_broker_id is null
        or exists (select from target where refusal is null))
    ), changed as (
      -- Without a difference the row keeps its tag: a repeat of it must still match.
      update provisioning_keys k
      set max_devices = allowed.max_devices, expires_at = allowed.expires_at, description = allowed.description,
          default_broker_id = allowed.default_broker_id, updated_at = now(), updated_by = ${ctx.actor},
          updated_request_id = ${ctx.requestId}
      from allowed
      where k.id = allowed.id and
        (k.max_devices, k.expires_at, k.description, k.default_broker_id) is distinct from
        (allowed.max_devices, allowed.expires_at, allowed.description, allowed.default_broker_id)
      returning k.*
    ), was as (
      select ${recordedKey(sql)} as recorded from before k
    ), event as (
      ${recordOperatorEvents(
        sql,
        ctx,
        'key',
        sql`
          select 'key-changed' as type, k.id, k.fleet_id as name, null as reason, was.recorded as before,
                 ${recordedKey(sql)} as after
          from changed k, was`,
      )}
    ), ${followersLeave(sql)}, key as (
      select * from changed union all
      select before.* from before, tag
      where (is_repeated or exists (select from allowed)) and not exists (select from changed)
    )
    select exists (select from before) as found, (select matches from tag) as tag_matches,
           (select row_to_json(target) from target) as target, shown.*,
           case when not (select is_repeated from tag) then (select count(*)::integer from follower) end as devices_affected
    from (select) one
    left join (select ${listedColumns(sql)}, ${keyTag(sql)} as tag from key k) shown on true`;
}

/**
 * SQL: `follower`, the devices of the key that no assignment leads elsewhere and that belong to another broker after the
 * change. Nothing is written to most of them. The broker that they were handed must keep accepting them, so a row is
 * written, as a move of the device would, where it does not say which one that was, or where permissions of the past were ended.
 */
function followersLeave(sql: Sql): Fragment {
  return sql`
    place as (
      -- For these devices the key's broker decides, as if they were assigned to it.
      select before.id as key_id, was.broker_id as was
      from before
      join changed on changed.default_broker_id is distinct from before.default_broker_id
      left join lateral berth_resolved(null, before.default_broker_id, null, false) was on true
      left join lateral berth_resolved(null, changed.default_broker_id, null, false) is_now on true
      where is_now.broker_id is distinct from was.broker_id
    ), follower as (
      select d.id, place.was from place join devices d on d.provisioned_by_key_id = place.key_id
      where d.mqtt_broker_id is null
      union all
      select d.id, place.was from place join devices d on d.provisioned_by_key_id = place.key_id
      join mqtt_broker_config assigned on assigned.id = d.mqtt_broker_id and assigned.refusal = 'inactive'
    ), left_behind as (
      update devices d
      set handed_broker_id = coalesce(d.handed_broker_id, berth_presumed_broker(
            d.uuid::text, d.mqtt_broker_id, d.provisioned_by_key_id, coalesce(d.provisioned_at, d.created_at))),
          handed_left_at = now()
      from follower left join mqtt_broker_config was on was.id = follower.was
      where d.id = follower.id and (
        d.handed_broker_id is null and d.handed_at is null
        or d.handed_broker_id = was.id and coalesce(d.former_closed_at, was.closed_to_former_at) is not null)
    )`;
}
