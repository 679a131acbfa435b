import type { Berth } from './berth.ts';

type Line = { line: string };

const COLUMNS = `
  select format('%s.%s %s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                case when a.attnotnull then ' not null' else '' end,
                coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')) as line
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid and c.relkind = 'r'
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where c.relnamespace = 'public'::regnamespace and a.attnum > 0 and not a.attisdropped and c.relname <> 'berth_migrations'
  order by c.relname, a.attnum`;
const CONSTRAINTS = `
  select format('%s: %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as line
  from pg_constraint
  where connamespace = 'public'::regnamespace and contype <> 'n' and conrelid <> 'berth_migrations'::regclass
  order by 1`;
const INDEXES = `
  select indexdef as line from pg_indexes
  where schemaname = 'public' and tablename <> 'berth_migrations' order by tablename, indexname`;
const VIEWS = `select format('%s as%s', viewname, E'\\n' || definition) as line from pg_views where schemaname = 'public' order by 1`;
const FUNCTIONS = `
  select pg_get_functiondef(oid) as line from pg_proc where pronamespace = 'public'::regnamespace order by proname`;

/** The schema that the migrations create on a fresh database, as text for reading and diffs; not executable. */
export async function describeSchema(sql: Berth['sql']): Promise<string> {
  const section = async (title: string, query: string) => {
    const rows = (await sql(query)) as Line[];
    return `-- ${title}\n${rows.map(({ line }) => line.trimEnd()).join('\n')}\n`;
  };
  return [
    '-- Generated from a fresh, migrated database by `npm run generate:schema`: read it, do not run it.\n',
    await section('columns', COLUMNS),
    await section('constraints', CONSTRAINTS),
    await section('indexes', INDEXES),
    await section('views', VIEWS),
    await section('functions', FUNCTIONS),
  ].join('\n');
}
