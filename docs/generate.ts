import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { loadRoutes } from './endpoints.ts';
import { allProblems, openapi } from './openapi.ts';
import { panelConstraints, panelTypes } from './panel-types.ts';

const ROOT = new URL('../', import.meta.url).pathname;

/** The generated files and their content. `npm run generate` writes them, a test compares them. */
export async function generated(): Promise<{ url: URL; text: string }[]> {
  const specs = (await loadRoutes()).map(({ endpoint }) => endpoint.spec);
  const document = openapi(specs);
  const panel = new URL('../panel/src/api/', import.meta.url);
  return [
    { url: new URL('openapi.json', import.meta.url), text: `${JSON.stringify(document, null, 2)}\n` },
    { url: new URL('errors.md', import.meta.url), text: errorsPage() },
    { url: new URL('types.ts', panel), text: panelTypes(document) },
    { url: new URL('constraints.ts', panel), text: panelConstraints(document) },
  ];
}

function errorsPage(): string {
  const problems = allProblems();
  const rows = problems.map(({ code, status, title, help }) => `| \`${code}\` | ${status} | ${title} | ${help} |`);
  const operatorRows = problems.flatMap(({ code, operatorHelp }) =>
    operatorHelp ? [`| \`${code}\` | ${operatorHelp} |`] : [],
  );
  return `# Errors

Generated from \`lib/errors.ts\` by \`npm run generate\`.

Every error of Berth is \`application/problem+json\` (RFC 9457): \`type, title, status, detail, code, requestId\`, where fields are
wrong \`errors: [{path, message}]\`, and the legacy service's \`error\` (= title) and \`message\` (= detail). Switch on \`code\`;
texts may change. 429 and 503 come with \`Retry-After\` (seconds) wherever waiting helps.

| code | status | title | what the caller can do |
| --- | --- | --- | --- |
${rows.join('\n')}

Not problem+json: 304 (no body); replies of API Gateway itself, \`{"message": …}\` for a function that failed (500, 503), a body over
10 MB (413) and too many requests (429); and decisions of \`/mqtt/auth/…\`, which have the form that the broker expects
([brokers.md](brokers.md#the-secret-http)).

Some problems end only when the platform team acts. Berth logs these texts at level WARN. It never sends them to callers.

| code | what the platform team can do |
| --- | --- |
${operatorRows.join('\n')}
`;
}

if (import.meta.main) {
  for (const { url, text } of await generated()) {
    const changed = read(url) !== text;
    writeFileSync(url, text);
    console.log(`${changed ? 'wrote' : 'unchanged'} ${path.relative(ROOT, url.pathname)}`);
  }
}

function read(url: URL): string | undefined {
  try {
    return readFileSync(url, 'utf8');
  } catch {
    return undefined;
  }
}
