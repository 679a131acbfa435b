import type { ExplainedStep, GetDevicesUuidReply } from '../api/types.ts';
import { Badge, type Tone } from './badge.tsx';
import { BrokerLink } from './broker-parts.tsx';
import { Code } from './name.tsx';

const SOURCES: Record<ExplainedStep['source'], string> = {
  device: 'Its own assignment',
  provisioning_key: 'Its provisioning key',
  default: 'The default broker',
  environment: 'The environment',
};
const TONES: Record<ExplainedStep['outcome'], Tone> = { taken: 'good', skipped: 'neutral', 'not reached': 'neutral' };

/** Why a device is at its broker: each step of the resolution in its order, what it found, and where the path ends. */
export function ResolutionPath({ reply }: { reply: GetDevicesUuidReply }) {
  const { explain, resolved_broker, if_default_changes } = reply;
  return (
    <div class="finding">
      <ol class="path">
        {explain.map(({ step, source, outcome, why }) => (
          <li key={step} class={`step ${outcome.replace(' ', '-')}`}>
            <div class="row">
              <strong>{SOURCES[source]}</strong>
              <Badge tone={TONES[outcome]}>{outcome}</Badge>
            </div>
            {outcome !== 'not reached' && (
              <p class="muted" dir="auto">
                {why}
              </p>
            )}
          </li>
        ))}
        <li class="step end">
          {resolved_broker ? (
            <>
              <strong>
                {resolved_broker.id === null ? (
                  'The broker of the environment'
                ) : (
                  <BrokerLink id={resolved_broker.id} name={resolved_broker.name} />
                )}
              </strong>
              <p>
                <Code text={resolved_broker.url} />
              </p>
            </>
          ) : (
            <>
              <strong>No broker</strong>
              <p>
                No step found a broker, so the device gets 503. Make a broker the default, or choose one for this
                device.
              </p>
            </>
          )}
        </li>
      </ol>
      <p class="muted">{if_default_changes.why}</p>
    </div>
  );
}
