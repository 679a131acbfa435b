import { useState } from 'preact/hooks';
import { randomHex } from '../random.ts';
import { CopyButton } from './copy.tsx';

/**
 * The curl command that registers a new device, ready to paste.
 * @param provisioningKey undefined: it is not known, so the command has a variable for it
 */
export function RegisterCommand({ provisioningKey }: { provisioningKey?: string }) {
  const [uuid] = useState(() => `try-${randomHex(4)}`);
  const [deviceKey] = useState(() => randomHex(16));
  const device = { uuid, deviceName: 'A first device', deviceType: 'curl', deviceApiKey: deviceKey };
  const command = [
    `curl -X POST '${location.origin}/api/v1/device/register'`,
    provisioningKey ? `-H 'Authorization: Bearer ${provisioningKey}'` : `-H "Authorization: Bearer $PROVISIONING_KEY"`,
    `-H 'Content-Type: application/json'`,
    `-d '${JSON.stringify(device)}'`,
  ].join(' \\\n  ');
  return (
    <div class="command">
      <pre>
        <code>{command}</code>
      </pre>
      <CopyButton text={command} what="the command" />
      <p class="note">
        Then open <a href={`/devices/${uuid}`}>the page of the device {uuid}</a>.
      </p>
    </div>
  );
}
