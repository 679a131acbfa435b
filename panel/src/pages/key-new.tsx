import { useSignal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { get, type Request } from '../api/client.ts';
import { NewProvisioningKey } from '../api/constraints.ts';
import { EVENTS, FLEETS, KEYS } from '../api/paths.ts';
import type { Fields } from '../api/rules.ts';
import type { GetProvisioningKeysReply, IssuedProvisioningKey } from '../api/types.ts';
import { useAction } from '../data/action.ts';
import { useBrokers } from '../data/brokers.ts';
import { randomHex } from '../random.ts';
import { canWrite } from '../session.ts';
import { brokerOptions } from '../ui/broker-choice.tsx';
import { Button, LinkButton } from '../ui/button.tsx';
import { CopyButton } from '../ui/copy.tsx';
import { Curl } from '../ui/curl.tsx';
import { filledOf, SelectField, TextField, useForm } from '../ui/form.tsx';
import { FormBox } from '../ui/form-box.tsx';
import { Page, Section } from '../ui/page.tsx';
import { ActionProblem } from '../ui/problem.tsx';
import { ReadOnly } from '../ui/read-only.tsx';
import { RegisterCommand } from '../ui/register-command.tsx';
import { Time } from '../ui/time.tsx';
import { apiPath } from '../url-state.ts';

const RULES: Fields = { ...NewProvisioningKey, fleet_id: { ...NewProvisioningKey.fleet_id, required: true } };
const INITIAL = { fleet_id: '', description: '', max_devices: '100', expires_in_days: '365', default_broker_id: '' };
const TITLE = 'Issue a provisioning key';
const ABOVE: [string, string][] = [['Provisioning keys', '/keys']];

export default function KeyNew() {
  const issued = useSignal<IssuedProvisioningKey | undefined>(undefined);
  if (!canWrite.value) return <ReadOnly title={TITLE} />;
  if (issued.value) return <Issued issued={issued.value} />;
  return (
    <Page title={TITLE} above={ABOVE}>
      <KeyForm
        onIssued={(key) => {
          issued.value = key;
        }}
      />
    </Page>
  );
}

function KeyForm({ onIssued }: { onIssued: (key: IssuedProvisioningKey) => void }) {
  const form = useForm(RULES, () => ({ ...INITIAL }));
  const brokers = useBrokers();
  /** One order: a repeat of it gets the same key. */
  const idempotencyKey = useMemo(() => `panel-${randomHex(16)}`, []);
  const newestBefore = useSignal<string | undefined>(undefined);
  const action = useAction<IssuedProvisioningKey>({
    changes: [KEYS, FLEETS, EVENTS],
    message: 'Key issued',
    done: ({ data }) => onIssued(data),
    check: async () => (await newestKey(String(form.values.fleet_id))) !== newestBefore.value,
  });
  const request: Request = { method: 'POST', path: KEYS, body: filledOf(form), idempotencyKey };
  const submit = async () => {
    if (!form.check()) return;
    newestBefore.value = await newestKey(String(form.values.fleet_id)).catch(() => undefined);
    await action.run(request);
  };
  useEffect(() => form.fail(action.failure), [action.failure]);
  return (
    <FormBox class="form" onSubmit={submit}>
      <div class="fields">
        <TextField form={form} name="fleet_id" label="Fleet" />
        <TextField form={form} name="description" label="Description" hint="For you: shown in the list of keys" />
        <TextField form={form} name="max_devices" label="Places" />
        <TextField form={form} name="expires_in_days" label="Days until it expires" />
      </div>
      <SelectField
        form={form}
        name="default_broker_id"
        label="Broker of its devices"
        options={[['', 'none: they follow the default broker'], ...brokerOptions(brokers)]}
        hint="Its devices are assigned to this broker when they register"
      />
      <ActionProblem action={action} shownFields={Object.keys(INITIAL)} />
      {action.outcome === 'made' && (
        <p class="note">
          The reply with the key was lost. Issue it again: the same key is shown, and no second one is issued.
        </p>
      )}
      <div class="form-end">
        <Button type="submit" kind="primary" isBusy={action.isBusy}>
          Issue the key
        </Button>
        <LinkButton href="/keys">Cancel</LinkButton>
      </div>
      <Curl request={request} />
    </FormBox>
  );
}

/** The id of the fleet's newest key; undefined: it has none. */
async function newestKey(fleet_id: string): Promise<string | undefined> {
  const reply = await get<GetProvisioningKeysReply>(apiPath(KEYS, { fleet_id, limit: 1 }));
  return reply?.data.keys[0]?.id;
}

/** The only page that ever shows the key. */
function Issued({ issued }: { issued: IssuedProvisioningKey }) {
  return (
    <Page title="The new provisioning key" above={ABOVE}>
      <div class="issued" role="status">
        <p>
          <strong>Store this key now.</strong> Berth keeps only its hash, and nobody can show it again.
        </p>
        <p class="secret">
          <code>{issued.key}</code>
          <CopyButton text={issued.key} what="the key" />
        </p>
        <p class="note">
          For {issued.maxDevices} devices of the fleet <bdi>{issued.fleetId}</bdi>. Expires{' '}
          <Time at={issued.expiresAt} />.
        </p>
      </div>
      <Section
        title="Register a device with it"
        note="Devices do this themselves. This is the same request, to try the key."
      >
        <RegisterCommand provisioningKey={issued.key} />
      </Section>
      <div class="form-end">
        <LinkButton href={`/keys/${issued.id}`} kind="primary">
          I have stored it
        </LinkButton>
      </div>
    </Page>
  );
}
