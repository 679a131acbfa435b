import type { ComponentChildren } from 'preact';
import { AreaField, CheckField, type Form, SelectField, TextField, type Values } from './form.tsx';
import { Section } from './page.tsx';

const PORTS: Record<string, string> = { mqtt: '1883', mqtts: '8883', ws: '80', wss: '443' };
const PROTOCOLS: [string, string][] = [
  ['mqtt', 'mqtt: TCP'],
  ['mqtts', 'mqtts: TLS'],
  ['ws', 'ws: WebSocket'],
  ['wss', 'wss: WebSocket over TLS'],
];

/** Secrets of a body, as variables of its curl command. */
export const BROKER_SECRETS = { password: 'BROKER_PASSWORD', client_key: 'BROKER_CLIENT_KEY' };

/** What devices are handed. Devices are behind until they have asked for a change of it. */
export const HANDED_FIELDS = [
  ...['protocol', 'host', 'port', 'verify_certificate', 'client_id_prefix', 'keep_alive', 'clean_session'],
  ...['reconnect_period', 'connect_timeout', 'ca_cert'],
];

/** Of a new broker: the defaults of the API. */
export function newBroker(): Values {
  return {
    ...{ name: '', description: '', protocol: 'mqtt', host: '', port: PORTS.mqtt as string },
    ...{ username: '', password: '', ca_cert: '', client_cert: '', client_key: '', verify_certificate: true },
    ...{
      client_id_prefix: 'berth',
      keep_alive: '60',
      clean_session: true,
      reconnect_period: '1000',
      connect_timeout: '30000',
    },
    ...{ broker_type: '', region: '', allocation_weight: '', extra_config: '' },
  };
}

/** The fields of a broker. The state (active, default, draining) has buttons of its own, which count the consequences. */
export function BrokerFields({
  form,
  stored,
  children,
}: {
  form: Form;
  stored?: { has_password: boolean; has_client_key: boolean };
  children?: ComponentChildren;
}) {
  const usesTls = form.values.protocol === 'mqtts' || form.values.protocol === 'wss';
  return (
    <>
      <Section title="Address">
        <div class="fields">
          <TextField form={form} name="name" label="Name" />
          <Protocol form={form} />
          <TextField form={form} name="host" label="Host" placeholder="mqtt.example.com" />
          <TextField form={form} name="port" label="Port" />
        </div>
        <TextField form={form} name="description" label="Description" />
        {children}
      </Section>
      {usesTls && (
        <Section title="TLS">
          <CheckField
            form={form}
            name="verify_certificate"
            label="Clients verify the broker’s certificate"
            hint="Without it, anybody on the way can read and change what devices send."
          />
          <AreaField
            form={form}
            name="ca_cert"
            label="CA certificates"
            isCode
            rows={4}
            placeholder="-----BEGIN CERTIFICATE-----"
          />
        </Section>
      )}
      <Section title="What devices are handed">
        <div class="fields">
          <TextField form={form} name="client_id_prefix" label="Client id prefix" />
          <TextField form={form} name="keep_alive" label="Keep-alive" />
          <TextField form={form} name="reconnect_period" label="Reconnect period" />
          <TextField form={form} name="connect_timeout" label="Connect timeout" />
        </div>
        <CheckField
          form={form}
          name="clean_session"
          label="Clean session"
          hint="The broker keeps no messages for a device that is offline."
        />
      </Section>
      <Section
        title="Login of the connection test"
        note="A user of its own, which may connect and nothing else. Devices never get it."
      >
        <div class="fields">
          <TextField form={form} name="username" label="User name" />
          <TextField
            form={form}
            name="password"
            label="Password"
            type="password"
            hint={
              stored?.has_password ? 'One is stored. Leave it empty to keep it.' : 'Stored sealed, never shown again.'
            }
          />
        </div>
        {stored?.has_password && <CheckField form={form} name="remove_password" label="Remove the stored password" />}
        {usesTls && (
          <>
            <AreaField
              form={form}
              name="client_cert"
              label="Client certificate"
              isCode
              rows={3}
              placeholder="-----BEGIN CERTIFICATE-----"
            />
            <AreaField
              form={form}
              name="client_key"
              label="Private key of the client certificate"
              isCode
              rows={3}
              hint={
                stored?.has_client_key
                  ? 'One is stored. Leave it empty to keep it.'
                  : 'PEM; stored sealed, never shown again.'
              }
            />
            {stored?.has_client_key && (
              <CheckField form={form} name="remove_client_key" label="Remove the stored private key" />
            )}
          </>
        )}
      </Section>
      <Section title="Placement">
        <div class="fields">
          <TextField form={form} name="region" label="Region" />
          <TextField form={form} name="allocation_weight" label="Weight" />
          <TextField form={form} name="broker_type" label="Type" />
        </div>
        <AreaField form={form} name="extra_config" label="Extra settings (JSON)" isCode rows={2} placeholder="{}" />
      </Section>
    </>
  );
}

/** Brings its usual port along, unless another one was typed. */
function Protocol({ form }: { form: Form }) {
  const { port } = form.values;
  const isUsual = port === '' || Object.values(PORTS).includes(String(port));
  const follow: Form = {
    ...form,
    values: form.values,
    errors: form.errors,
    set: (name, value) => {
      form.set(name, value);
      if (isUsual) form.set('port', PORTS[String(value)] ?? String(port));
    },
  };
  return <SelectField form={follow} name="protocol" label="Protocol" options={PROTOCOLS} />;
}

/**
 * What the API takes, from the members of a form: JSON as a value, and a box "remove" as null.
 * @returns `complaint`: what is wrong with `extra_config`
 */
export function brokerBody(members: Record<string, unknown>): { body: Record<string, unknown>; complaint?: string } {
  const { remove_password, remove_client_key, extra_config, ...rest } = members;
  const body = {
    ...rest,
    ...(remove_password ? { password: null } : {}),
    ...(remove_client_key ? { client_key: null } : {}),
  };
  if (extra_config === undefined) return { body };
  const parsed = objectOf(extra_config === null ? '{}' : String(extra_config));
  return parsed ? { body: { ...body, extra_config: parsed } } : { body, complaint: 'must be a JSON object' };
}

function objectOf(text: string): object | undefined {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
