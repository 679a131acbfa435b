import { curlOf } from '../api/curl.ts';
import {
  type ApiDocument,
  credentialOf,
  type Member,
  membersOf,
  type Parameter,
  type Problem,
  problemsOf,
  type Route,
  requestOf,
  resolved,
  typeText,
} from '../data/openapi.ts';
import { Badge, type Tone } from './badge.tsx';
import { CopyButton } from './copy.tsx';
import { Facts } from './facts.tsx';
import { type Column, Table } from './table.tsx';

const TONES: Record<string, Tone> = { GET: 'info', POST: 'good', PUT: 'warn', PATCH: 'warn', DELETE: 'bad' };

type Props = { route: Route; document: ApiDocument; isOpen: boolean; onToggle: (isOpen: boolean) => void };

/** A route, folded: what it does, what it takes, what it answers. */
export function ApiRoute({ route, document, isOpen, onToggle }: Props) {
  return (
    <details
      class="api-route"
      open={isOpen}
      onToggle={(event) => event.currentTarget.open !== isOpen && onToggle(event.currentTarget.open)}
    >
      <summary>
        <Badge tone={TONES[route.method] ?? 'neutral'}>{route.method}</Badge>
        <code class="api-path">{route.path}</code>
        <span class="api-summary">{route.summary}</span>
      </summary>
      {isOpen && <Details route={route} document={document} />}
    </details>
  );
}

function Details({ route, document }: Pick<Props, 'route' | 'document'>) {
  const body = route.requestBody?.content['application/json']?.schema;
  return (
    <div class="api-details">
      {route.description && <p>{withCode(route.description)}</p>}
      <Facts rows={[['Credential', credentialOf(route)?.who ?? 'None: anybody may read this']]} />
      <Parameters rows={route.parameters ?? []} document={document} />
      {body && (
        <>
          <h3>Body</h3>
          <Members what={`Body of ${route.method} ${route.path}`} schema={body} document={document} />
        </>
      )}
      <Command route={route} document={document} />
      <Replies route={route} document={document} />
      <Problems rows={problemsOf(route)} />
    </div>
  );
}

function Parameters({ rows, document }: { rows: Parameter[]; document: ApiDocument }) {
  if (rows.length === 0) return null;
  const columns: Column<Parameter>[] = [
    { title: 'Parameter', cell: ({ name }) => <code>{name}</code> },
    { title: 'In', cell: (one) => one.in },
    { title: 'Type', cell: ({ schema }) => typeText(schema, document) },
    { title: 'Required', cell: ({ required }) => (required ? 'yes' : 'no') },
    { title: 'Meaning', kind: 'wide', cell: ({ description, schema }) => withCode(description ?? schema.description) },
  ];
  return (
    <>
      <h3>Parameters</h3>
      <Table caption="Parameters" columns={columns} rows={rows} keyOf={(one) => `${one.in} ${one.name}`} />
    </>
  );
}

type MembersProps = { what: string; schema: object; document: ApiDocument };

/** The members of a body. An alternative, such as the preview of a job, is a table of its own. */
function Members({ what, schema, document }: MembersProps) {
  const { schema: own } = resolved(schema, document);
  const alternatives = own.anyOf ?? [schema];
  const columns: Column<Member>[] = [
    { title: 'Member', cell: (member) => <code>{member.name}</code> },
    { title: 'Type', cell: (member) => typeText(member.schema, document) },
    { title: 'Required', kind: 'minor', cell: ({ isRequired }) => (isRequired ? 'yes' : 'no') },
    {
      title: 'Meaning',
      kind: 'wide',
      cell: (member) => withCode(member.schema.description ?? resolved(member.schema, document).schema.description),
    },
  ];
  return alternatives.map((one, index) => (
    <Table
      key={index}
      caption={alternatives.length > 1 ? `${what}, ${index + 1} of ${alternatives.length}` : what}
      columns={columns}
      rows={membersOf(one, document)}
      keyOf={(member) => member.name}
      empty={<p class="muted">{typeText(one, document)}</p>}
    />
  ));
}

function Replies({ route, document }: Pick<Props, 'route' | 'document'>) {
  const replies = Object.entries(route.responses).filter(([status]) => Number(status) < 400);
  return replies.map(([status, { description, content, headers = {} }]) => {
    const schema = content?.['application/json']?.schema;
    const others = Object.keys(content ?? {}).filter((type) => type !== 'application/json');
    return (
      <details key={status} class="api-part">
        <summary>
          Reply <Badge tone="good">{status}</Badge> {withCode(description)}
          {others.length > 0 && <span class="muted"> · also {others.join(', ')}</span>}
        </summary>
        {Object.keys(headers).length > 0 && (
          <Facts rows={Object.entries(headers).map(([name, one]) => [name, withCode(one.description)])} />
        )}
        {schema && <Members what={`Reply ${status}`} schema={schema} document={document} />}
      </details>
    );
  });
}

function Problems({ rows }: { rows: Problem[] }) {
  const columns: Column<Problem>[] = [
    { title: 'Code', cell: ({ code }) => <code>{code}</code> },
    { title: 'Status', kind: 'number', cell: ({ status }) => status },
    { title: 'Title', kind: 'wide', cell: ({ title }) => title },
  ];
  return (
    <details class="api-part">
      <summary>{rows.length === 1 ? '1 problem' : `${rows.length} problems`}</summary>
      <Table caption="Problems" columns={columns} rows={rows} keyOf={({ status, code }) => `${status} ${code}`} />
    </details>
  );
}

/** An example to paste. The credential is a variable. */
function Command({ route, document }: Pick<Props, 'route' | 'document'>) {
  const credential = credentialOf(route);
  const text = curlOf(requestOf(route, document), location.origin)
    .split(' \\\n  ')
    .filter((line) => credential || !line.includes('$BERTH_TOKEN'))
    .join(' \\\n  ')
    .replace('$BERTH_TOKEN', `$${credential?.variable}`);
  return (
    <section>
      <h3>As a curl command</h3>
      <div class="api-command">
        <pre>
          <code>{text}</code>
        </pre>
        <CopyButton text={text} what={`the curl command of ${route.method} ${route.path}`} />
      </div>
    </section>
  );
}

/** Text with code between backticks, as descriptions have it. */
function withCode(text: string | undefined) {
  return text?.split('`').map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part));
}
