import { useEffect } from 'preact/hooks';
import { useLocation } from 'preact-iso/router';
import { get, type Request } from '../api/client.ts';
import { NewBroker } from '../api/constraints.ts';
import { BROKERS, EVENTS, STATS } from '../api/paths.ts';
import type { GetMqttBrokersReply, PostMqttBrokersReply } from '../api/types.ts';
import { useAction } from '../data/action.ts';
import { useQuery } from '../data/query.ts';
import { canWrite } from '../session.ts';
import { BROKER_SECRETS, BrokerFields, brokerBody, newBroker } from '../ui/broker-form.tsx';
import { Button, LinkButton } from '../ui/button.tsx';
import { Curl } from '../ui/curl.tsx';
import { CheckField, filledOf, useForm } from '../ui/form.tsx';
import { FormBox } from '../ui/form-box.tsx';
import { Page } from '../ui/page.tsx';
import { ActionProblem } from '../ui/problem.tsx';
import { ReadOnly } from '../ui/read-only.tsx';

export default function BrokerNew() {
  const { route } = useLocation();
  const brokers = useQuery<GetMqttBrokersReply>(BROKERS).data?.data;
  const hasDefault = brokers?.some(({ is_default }) => is_default) ?? true;
  const form = useForm(NewBroker, newBroker);
  const action = useAction<PostMqttBrokersReply>({
    changes: [BROKERS, STATS, EVENTS],
    message: 'Broker added',
    // Back must not lead to the form again.
    done: ({ data }) => route(`/brokers/${data.data.id}`, true),
    check: async () => (await findBroker(String(form.values.name))) !== undefined,
  });
  useEffect(() => form.fail(action.failure), [action.failure]);
  if (!canWrite.value) return <ReadOnly title="New broker" />;
  const { is_default, ...filled } = filledOf(form);
  const { body, complaint } = brokerBody({
    ...filled,
    ...(is_default === true && !hasDefault ? { is_default } : {}),
  });
  const request: Request = { method: 'POST', path: BROKERS, body };
  const submit = () => {
    if (!form.check()) return;
    if (complaint) form.complain('extra_config', complaint);
    else action.run(request);
  };
  return (
    <Page title="New broker" above={[['Brokers', '/brokers']]}>
      <FormBox class="form" onSubmit={submit}>
        <BrokerFields form={form}>
          {!hasDefault && (
            <CheckField
              form={form}
              name="is_default"
              label="Make it the default broker"
              hint="There is no default yet. Devices without a broker of their own follow the default."
            />
          )}
        </BrokerFields>
        <ActionProblem action={action} shownFields={Object.keys(form.values)} />
        {action.outcome === 'made' && (
          <p>
            A broker with this name is in the <a href="/brokers">list</a>.
          </p>
        )}
        <div class="form-end">
          <Button type="submit" kind="primary" isBusy={action.isBusy}>
            Add the broker
          </Button>
          <LinkButton href="/brokers">Cancel</LinkButton>
        </div>
        <Curl request={request} secrets={BROKER_SECRETS} />
      </FormBox>
    </Page>
  );
}

async function findBroker(name: string) {
  const reply = await get<GetMqttBrokersReply>(BROKERS);
  return reply?.data.data.find((broker) => broker.name === name);
}
