import type { Request } from '../api/client.ts';
import { curlOf } from '../api/curl.ts';
import { CopyButton } from './copy.tsx';

/** The curl command of a request, folded. It works when pasted, with the admin token in `$BERTH_TOKEN`. */
export function Curl({
  request,
  secrets,
  isOpen = false,
}: {
  request: Request;
  secrets?: Record<string, string>;
  isOpen?: boolean;
}) {
  const text = curlOf(request, location.origin, secrets);
  return (
    <details class="curl" open={isOpen}>
      <summary>As a curl command</summary>
      <pre>
        <code>{text}</code>
      </pre>
      <CopyButton text={text} what="the curl command" />
    </details>
  );
}
