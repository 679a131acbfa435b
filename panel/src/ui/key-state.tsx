import type { ProvisioningKey } from '../api/types.ts';
import { Badge, type Tone } from './badge.tsx';
import { formatted } from './number.tsx';

const SOON_MS = 30 * 86_400_000;
const NEARLY_USED_UP = 0.9;

/** What a key is good for now: the first that applies. */
export function keyStateOf(key: ProvisioningKey, now = Date.now()): [tone: Tone, text: string] {
  const { is_active, expires_at, devices_provisioned, max_devices } = key;
  const left = Date.parse(expires_at) - now;
  const used = max_devices ? (devices_provisioned ?? 0) / max_devices : 0;
  if (!is_active) return ['neutral', 'revoked'];
  if (left <= 0) return ['bad', 'expired'];
  if (used >= 1) return ['bad', 'used up'];
  if (left < SOON_MS) return ['warn', 'expires soon'];
  if (used >= NEARLY_USED_UP) return ['warn', 'nearly used up'];
  return ['good', 'active'];
}

export function KeyState({ of }: { of: ProvisioningKey }) {
  const [tone, text] = keyStateOf(of);
  return <Badge tone={tone}>{text}</Badge>;
}

/** Places that are taken, as numbers and as a bar. */
export function KeyUse({ of }: { of: ProvisioningKey }) {
  const taken = of.devices_provisioned ?? 0;
  if (of.max_devices === null) return <>{formatted(taken)}, no limit</>;
  return (
    <span class="use">
      <meter min={0} max={of.max_devices} value={taken} aria-label="Places taken" />
      <span class="count">
        {formatted(taken)} of {formatted(of.max_devices)}
      </span>
    </span>
  );
}
