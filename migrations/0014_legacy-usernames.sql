-- The MQTT users of a device. The legacy service named each one device_ and the uuid as the device had sent it, and wrote the name
-- nowhere else. A device that it deleted, and that registered again in another spelling, has several.

-- Only users that spell their uuid in another way than RFC 4122: the index of a fleet that was always lower case is empty. On a
-- database where spellings are different devices there is no index, so that a registration does not pay for it.
do $$
begin
  if berth_ties_spellings() then
    create index if not exists mqtt_users_spelling_idx on mqtt_users (berth_canonical_uuid(substr(username, 8)))
      where starts_with(username, 'device_') and username !~ '^device_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
  end if;
end $$;

create or replace function berth_mqtt_usernames(device_uuid text, named text) returns setof text
language sql stable parallel safe rows 2 as $$
  select 'device_' || device_uuid
  union
  select named where named is not null
  union
  -- The conditions of the index.
  select username from mqtt_users
  where berth_ties_spellings() and berth_canonical_uuid(substr(username, 8)) = device_uuid
    and starts_with(username, 'device_') and username !~ '^device_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
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
begin
  with ended as (
    delete from mqtt_users
    where username in (select name from berth_mqtt_usernames(new.uuid::text, null) name)
      and username is distinct from new.mqtt_username
    returning username
  )
  delete from mqtt_acls where username in (select username from ended);
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
