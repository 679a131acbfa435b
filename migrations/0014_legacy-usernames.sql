-- The MQTT users of a device. The legacy service named each one device_ and the uuid as the device had sent it, and wrote the name
-- nowhere else. A device that it deleted, and that registered again in another spelling, has several.

-- Only users that spell their uuid in another way than RFC 4122: the index of a fleet that was always lower case is empty. (A regular
-- expression takes ten times as long, for each user and each registration.) On a database where spellings are different devices there
-- is no index, so that a registration does not pay for it.
do $$
begin
  if berth_ties_spellings() then
    create index if not exists mqtt_users_spelling_idx on mqtt_users (berth_canonical_uuid(substr(username, 8)))
      where starts_with(username, 'device_')
        and (username not like 'device\_________-____-____-____-____________' or username <> lower(username));
  end if;
end $$;

-- Not inlined, so that statements expect one row, not a share of the table, and find the users by their indexes.
create or replace function berth_spelt_usernames(device_uuid text) returns setof text
language plpgsql stable parallel safe rows 1 as $$
begin
  -- The conditions of the index.
  return query select username::text from mqtt_users
  where berth_ties_spellings() and berth_canonical_uuid(substr(username, 8)) = device_uuid
    and starts_with(username, 'device_')
    and (username not like 'device\_________-____-____-____-____________' or username <> lower(username));
end $$;
comment on function berth_spelt_usernames is 'The usernames of a device that spell its uuid in another way';

create or replace function berth_mqtt_usernames(device_uuid text, named text) returns setof text
language sql stable parallel safe rows 2 as $$
  select 'device_' || device_uuid
  union
  select named where named is not null
  union
  select name from berth_spelt_usernames(device_uuid) name
$$;
comment on function berth_mqtt_usernames is
  'All usernames that a device has or may have. named: its mqtt_username. The reverse of the view mqtt_device_users';

create or replace function berth_mqtt_username(device_uuid text) returns text language sql stable parallel safe as $$
  select u.username from berth_mqtt_usernames(device_uuid, null) name join mqtt_users u on u.username = name
  order by u.id desc limit 1
$$;
comment on function berth_mqtt_username is
  'The username of a device whose row names none: that of its latest registration. NULL: it has no MQTT user';

-- A device that the legacy service deleted left its users behind. One that registers with Berth must not inherit those of other
-- spellings. A trigger, and only here: a clause of the registration would cost every database.
create or replace function berth_end_other_spellings() returns trigger language plpgsql as $$
declare
  spelt text;
begin
  for spelt in select name from berth_spelt_usernames(new.uuid::text) name loop
    delete from mqtt_users where username = spelt;
    delete from mqtt_acls where username = spelt;
  end loop;
  return null;
end $$;
do $$
begin
  if berth_ties_spellings() then
    create or replace trigger berth_end_other_spellings after insert on devices
      for each row when (new.mqtt_password_salt is not null) execute function berth_end_other_spellings();
  end if;
end $$;

comment on column devices.mqtt_password_salt is
  'generation$random$check: what the MQTT password is derived from, and recognises the device key. NULL: password unknown to Berth';
