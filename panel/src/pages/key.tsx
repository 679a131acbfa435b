import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { useRoute } from 'preact-iso/router';
import { get, type Request } from '../api/client.ts';
import { PutProvisioningKeysIdBody, Revocation } from '../api/constraints.ts';
import { EVENTS, FLEETS, KEYS } from '../api/paths.ts';
import type { ProvisioningKey, PutProvisioningKeysIdReply } from '../api/types.ts';
import { useAction } from '../data/action.ts';
import { useBrokers } from '../data/brokers.ts';
import { useQuery } from '../data/query.ts';
import { BrokerLink, brokerOptions } from '../ui/broker-choice.tsx';
import { Button, ForWriters, LinkButton } from '../ui/button.tsx';
import { Curl } from '../ui/curl.tsx';
import { ConfirmDialog } from '../ui/dialog.tsx';
import { Facts } from '../ui/facts.tsx';
import { changesOf, filledOf, SelectField, TextField, useForm, type Values } from '../ui/form.tsx';
import { FormBox } from '../ui/form-box.tsx';
import { KeyState, KeyUse } from '../ui/key-state.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { changedMeanwhile, MergeDialog, MergedNote } from '../ui/merge-dialog.tsx';
import { Code, Name } from '../ui/name.tsx';
import { counted } from '../ui/number.tsx';
import { Page, Section } from '../ui/page.tsx';
import { ActionProblem } from '../ui/problem.tsx';
import { RegisterCommand } from '../ui/register-command.tsx';
import { Age, Time } from '../ui/time.tsx';

/** The field of the time has no zone: what is sent has one. */
const RULES = {
  ...PutProvisioningKeysIdBody,
  expires_at: { required: true },
  max_devices: { ...PutProvisioningKeysIdBody.max_devices, required: true },
};
const FIELDS = ['description', 'max_devices', 'expires_at', 'default_broker_id'] as const;

export default function Key() {
  const { params } = useRoute();
  const path = `${KEYS}/${encodeURIComponent(params.id ?? '')}`;
  const known = useQuery<ProvisioningKey>(path);
  const key = known.data;
  const isRevoking = useSignal(false);
  const title = key?.description || (key ? `Key prov_${key.id.slice(0, 8)}…` : 'Provisioning key');
  const revokeButton = key?.is_active && (
    <ForWriters>
      <Button kind="danger" onClick={() => (isRevoking.value = true)}>
        Revoke …
      </Button>
    </ForWriters>
  );
  return (
    <Page
      title={title}
      above={[['Provisioning keys', '/keys']]}
      actions={
        key && (
          <>
            <LinkButton href={`/history?key_id=${key.id}`}>History</LinkButton>
            {revokeButton}
          </>
        )
      }
    >
      <Loaded known={known} path={path}>
        {(loaded) => (
          <>
            <KeyFacts of={loaded} />
            <p class="note">
              <Age at={known.at} />
            </p>
            <ForWriters>
              {/* A change by another operator must not change what is being typed: the form keeps the values it began with. */}
              <Edit key={loaded.id} of={loaded} etag={known.etag} path={path} />
            </ForWriters>
            {loaded.is_active && (
              <Section
                title="Register a device with it"
                note="The key was shown only when it was issued. Put it into the variable PROVISIONING_KEY."
              >
                <RegisterCommand />
              </Section>
            )}
            <Curl request={{ method: 'GET', path }} />
            {isRevoking.value && (
              <Revoke of={loaded} etag={known.etag} path={path} onClose={() => (isRevoking.value = false)} />
            )}
          </>
        )}
      </Loaded>
    </Page>
  );
}

function KeyFacts({ of }: { of: ProvisioningKey }) {
  return (
    <Facts
      rows={[
        ['State', <KeyState of={of} />],
        ['Places taken', <KeyUse of={of} />],
        ['Expires', <Time at={of.expires_at} />],
        [
          'Fleet',
          <a href={`/devices?fleet_id=${encodeURIComponent(of.fleet_id)}`}>
            <Name text={of.fleet_id} />
          </a>,
        ],
        ['Broker of its devices', <BrokerLink id={of.default_broker_id} />],
        ['Last used', <Time at={of.last_used_at} />],
        ['Id', <Code text={of.id} />],
        ['Issued', <By at={of.created_at} who={of.created_by} />],
        ...(of.updated_at
          ? [['Changed', <By at={of.updated_at} who={of.updated_by} />] as [string, preact.JSX.Element]]
          : []),
      ]}
    />
  );
}

function By({ at, who }: { at: string | null; who: string | null }) {
  return (
    <>
      <Time at={at} />
      {who && (
        <>
          {' '}
          by <bdi>{who}</bdi>
        </>
      )}
    </>
  );
}

function valuesOf(key: ProvisioningKey): Values {
  return {
    description: key.description ?? '',
    max_devices: String(key.max_devices ?? ''),
    expires_at: localTime(key.expires_at),
    default_broker_id: String(key.default_broker_id ?? ''),
  };
}

/** For an input of type datetime-local: in the browser's time zone, to the minute. */
function localTime(at: string): string {
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function Edit({ of, etag, path }: { of: ProvisioningKey; etag: string | undefined; path: string }) {
  /** What the form began with. Another operator's change does not replace it until this one looks. */
  const base = useSignal({ key: of, etag });
  const form = useForm(RULES, () => valuesOf(of));
  const brokers = useBrokers();
  const isMerged = useSignal(false);
  const restart = (key: ProvisioningKey, tag: string | undefined) => {
    base.value = { key, etag: tag };
    isMerged.value = false;
  };
  const wanted = bodyOf(changesOf(form, valuesOf(base.value.key)));
  const action = useAction<PutProvisioningKeysIdReply>({
    changes: [KEYS, FLEETS, EVENTS],
    message: ({ devices_affected: affected }) =>
      affected ? `Key changed. ${counted(affected, 'device')} now belong to another broker.` : 'Key changed',
    done: ({ data, etag: tag }) => {
      restart(data, tag);
      form.setAll(valuesOf(data));
    },
    check: async () => {
      const reply = await get<ProvisioningKey>(path);
      if (!reply) return undefined;
      const isMade = Object.entries(wanted).every(([name, value]) => sameValue(reply.data, name, value));
      restart(reply.data, reply.etag);
      return isMade;
    },
  });
  useEffect(() => form.fail(action.failure), [action.failure]);
  const other = changedMeanwhile<ProvisioningKey>(action.failure);
  const merge = (key: ProvisioningKey, tag: string, values: Values) => {
    restart(key, tag);
    form.setAll(values);
    isMerged.value = true;
    action.reset();
  };
  const request: Request = { method: 'PUT', path, body: wanted, ifMatch: base.value.etag };
  const hasChanges = Object.keys(wanted).length > 0;
  return (
    <Section title="Change it">
      <FormBox class="form" onSubmit={() => hasChanges && form.check() && action.run(request)}>
        <div class="fields">
          <TextField form={form} name="description" label="Description" hint="For you: shown in the list of keys" />
          <TextField form={form} name="max_devices" label="Places" />
          <TextField form={form} name="expires_at" label="Expires" type="datetime-local" hint="In your time zone" />
        </div>
        <SelectField
          form={form}
          name="default_broker_id"
          label="Broker of its devices"
          options={[
            ['', 'none: they follow the default broker'],
            ...brokerOptions(brokers, String(form.values.default_broker_id)),
          ]}
          hint="For devices that register from now on, and for those that follow the key. Devices that are assigned to a broker stay there"
        />
        <ActionProblem action={action} shownFields={[...FIELDS]} />
        {isMerged.value && <MergedNote />}
        {other && (
          <MergeDialog
            what={{ filter: 'key_id', id: of.id, noun: 'key' }}
            before={base.value.key}
            now={other.row}
            base={valuesOf(base.value.key)}
            theirs={valuesOf(other.row)}
            mine={form.values}
            onMerge={(values) => merge(other.row, other.etag, values)}
            onClose={action.reset}
          />
        )}
        <div class="form-end">
          <Button type="submit" kind="primary" isBusy={action.isBusy} disabled={!hasChanges}>
            Save
          </Button>
          <Button
            disabled={!hasChanges}
            onClick={() => {
              isMerged.value = false;
              form.setAll(valuesOf(base.value.key));
              action.reset();
            }}
          >
            Discard
          </Button>
        </div>
        {hasChanges && <Curl request={request} />}
      </FormBox>
    </Section>
  );
}

/** The body of a change: the time with its zone, and a number where the select field has a text. */
function bodyOf(changes: Record<string, unknown>): Record<string, unknown> {
  const { expires_at: at, ...others } = changes;
  const time = at === undefined || at === null ? {} : { expires_at: new Date(String(at)).toISOString() };
  return { ...others, ...time };
}

function sameValue(key: ProvisioningKey, name: string, value: unknown): boolean {
  const now = key[name as keyof ProvisioningKey];
  if (name !== 'expires_at') return now === value || (now === null && value === null);
  return Date.parse(String(now)) === Date.parse(String(value));
}

function Revoke({
  of,
  etag,
  path,
  onClose,
}: {
  of: ProvisioningKey;
  etag: string | undefined;
  path: string;
  onClose: () => void;
}) {
  const form = useForm(Revocation, () => ({ reason: '' }));
  const action = useAction<{ status: string }>({
    changes: [KEYS, FLEETS, EVENTS],
    message: 'Key revoked',
    done: onClose,
    check: async () => (await get<ProvisioningKey>(path))?.data.is_active === false,
  });
  const request: Request = { method: 'DELETE', path, body: filledOf(form), ifMatch: etag };
  return (
    <ConfirmDialog
      title="Revoke this key?"
      verb="Revoke"
      kind="danger"
      request={request}
      action={action}
      onClose={onClose}
      onSubmit={form.check}
    >
      <p>
        No new device can register with it, and this cannot be undone. The{' '}
        {counted(of.devices_provisioned ?? 0, 'device')} that registered with it keep working.
      </p>
      <TextField form={form} name="reason" label="Reason" />
    </ConfirmDialog>
  );
}
