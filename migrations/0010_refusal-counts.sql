-- Counts of refusals. The history has the first refusals of a window; counting in the history read every refusal of an address.

create table if not exists refusal_counts (
  source_ip text not null,
  reason    text not null,
  subject   text not null,
  refusals  integer not null default 1,
  until     timestamptz not null default now() + interval '15 minutes',
  primary key (source_ip, reason, subject)
) with (fillfactor = 80);
create index if not exists refusal_counts_until_idx on refusal_counts (until);

comment on table refusal_counts is 'One row for each window of 15 minutes; lib/devices/refusal-counts.ts removes rows whose window is over';
comment on column refusal_counts.source_ip is 'Empty: from all addresses';
comment on column refusal_counts.subject is 'What was refused: the id of a provisioning key, the uuid of a device, or empty';
comment on index device_events_refused_idx is 'Used by the release before refusal_counts';
