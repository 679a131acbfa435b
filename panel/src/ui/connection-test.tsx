import { useSignal } from '@preact/signals';
import { BROKERS, brokerPath, EVENTS } from '../api/paths.ts';
import type { PostMqttBrokersIdTestReply, ConnectionTest as Result } from '../api/types.ts';
import { useAction } from '../data/action.ts';
import { Badge } from './badge.tsx';
import { Button, ForWriters } from './button.tsx';
import { Curl } from './curl.tsx';
import { type Fact, Facts } from './facts.tsx';
import { ActionProblem } from './problem.tsx';
import { Time } from './time.tsx';

const STAGES = { dns: 'Name', tcp: 'TCP', tls: 'TLS', connack: 'MQTT' } as const;
type Stage = keyof typeof STAGES;

/** Connects to a broker as a device would, and draws the stages in the order in which they passed. */
export function ConnectionTest({ id, usesTls }: { id: number; usesTls: boolean }) {
  const result = useSignal<Result | undefined>(undefined);
  const action = useAction<PostMqttBrokersIdTestReply>({
    changes: [BROKERS, EVENTS],
    done: ({ data }) => {
      result.value = data.data;
    },
  });
  const request = { method: 'POST', path: `${brokerPath(id)}/test` } as const;
  const stages = (Object.keys(STAGES) as Stage[]).filter((stage) => stage !== 'tls' || usesTls);
  const run = () => {
    result.value = undefined;
    action.run(request);
  };
  return (
    <>
      <ol class="stages" aria-label="Stages of the connection" aria-busy={action.isBusy}>
        {stages.map((stage, index) => (
          <StageItem key={stage} {...{ stage, index }} isRunning={action.isBusy} result={result.value} />
        ))}
      </ol>
      <div aria-live="polite">{result.value && <Finding id={id} result={result.value} />}</div>
      <ActionProblem action={action} />
      <ForWriters>
        <div class="row">
          <Button onClick={run} isBusy={action.isBusy}>
            {result.value ? 'Test again' : 'Test the connection'}
          </Button>
        </div>
        <Curl request={request} />
      </ForWriters>
    </>
  );
}

function StageItem({
  stage,
  index,
  isRunning,
  result,
}: {
  stage: Stage;
  index: number;
  isRunning: boolean;
  result: Result | undefined;
}) {
  const latency = result?.latencyMs[stage];
  const outcome = outcomeOf(stage, result);
  const state = isRunning ? 'running' : outcome;
  return (
    <li class={`stage ${state} stage-${index}`}>
      <span class="stage-name">{STAGES[stage]}</span>
      <span class="stage-result">
        {isRunning ? '…' : { passed: `${latency} ms`, failed: 'failed', open: result ? 'not reached' : '' }[outcome]}
      </span>
    </li>
  );
}

function outcomeOf(stage: Stage, result: Result | undefined): 'passed' | 'failed' | 'open' {
  if (result?.stage === stage) return 'failed';
  return result?.latencyMs[stage] === undefined ? 'open' : 'passed';
}

/** What the test found, and what to do. */
function Finding({ id, result }: { id: number; result: Result }) {
  const { reachable, problem, advice, tls, connack } = result;
  return (
    <div class="finding">
      <p>
        {reachable ? <Badge tone="good">reachable</Badge> : <Badge tone="bad">{problem ?? 'not reachable'}</Badge>}{' '}
        {reachable ? 'A device can connect with these settings.' : advice}
      </p>
      {!reachable && (
        <ForWriters>
          <p>
            <a href={`/brokers/${id}/edit`}>Edit the broker</a> to correct its address, certificates or the user of this
            test.
          </p>
        </ForWriters>
      )}
      {(tls || connack) && <Facts rows={factsOf(result)} />}
    </div>
  );
}

function factsOf({ tls, connack }: Result): Fact[] {
  const ofTls: Fact[] = tls
    ? [
        ['Certificate', tls.subject],
        ['Issued by', tls.issuer],
        ['Expires', <Time key="expires" at={tls.expiresAt} />],
        ['Verified', tls.verified ? 'yes' : `no: ${tls.problem ?? ''}`],
        ['TLS', tls.version ?? '—'],
      ]
    : [];
  return connack ? [['CONNACK', `${connack.reasonCode}: ${connack.meaning}`], ...ofTls] : ofTls;
}
