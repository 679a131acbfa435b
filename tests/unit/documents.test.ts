import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import pkg from '../../package.json' with { type: 'json' };

const ROOT = new URL('../../', import.meta.url).pathname;
const isOurs = (file: string) => !/(^|\/)(node_modules|\.[^/]+)\//.test(file);
const documents = ['.', 'docs', 'examples', 'migrations'].flatMap((dir) =>
  readdirSync(path.join(ROOT, dir), { recursive: dir !== '.', encoding: 'utf8' })
    .map((file) => path.join(dir, file))
    .filter((file) => file.endsWith('.md') && isOurs(file)),
);
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');
const text = (file: string) => read(file).replace(/^```.*?^```/gms, '');

/** The anchors that GitHub creates for the headings. */
function anchorsOf(file: string): string[] {
  return [...text(file).matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

it.each(documents)('%s: the targets of its links exist', (file) => {
  for (const [, link = ''] of text(file).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^(https?|mailto):/.test(link)) continue;
    const [target, anchor] = link.split('#') as [string, string | undefined];
    const linked = target ? path.join(path.dirname(file), target) : file;
    expect(existsSync(path.join(ROOT, linked)), `${file}: ${link}`).toBe(true);
    if (anchor !== undefined) expect(anchorsOf(linked), `${file}: ${link}`).toContain(anchor);
  }
});

it.each(documents)('%s: the files and npm scripts that it names exist', (file) => {
  for (const [, named = ''] of text(file).matchAll(
    /`((?:lib|functions|tests|local|tools|migrations|docs|infra|bench|examples|\.github|\.ci)\/[\w./-]+\.\w+)`/g,
  )) {
    expect(existsSync(path.join(ROOT, named)), `${file}: ${named}`).toBe(true);
  }
  for (const [, script = ''] of read(file).matchAll(/npm run (?:-s )?([a-z][\w:-]*)/g)) {
    expect(Object.keys(pkg.scripts), `${file}: npm run ${script}`).toContain(script);
  }
});

const serverless = parse(read('serverless.yml'));

it.each(documents)('%s: the stack parameters and outputs that it names exist', (file) => {
  for (const [, name = ''] of read(file).matchAll(/--param "(\w+)=/g)) {
    expect([...Object.keys(serverless.params.default), 'environment'], `${file}: ${name}`).toContain(name);
  }
  const resources = readdirSync(path.join(ROOT, 'infra')).map((name) => read(`infra/${name}`));
  for (const [, name = ''] of read(file).matchAll(/\$\((?:output|resource) (\w+)\)/g)) {
    // The framework adds these two.
    if (!['HttpApiUrl', 'HttpApiId'].includes(name))
      expect(resources.join('\n'), `${file}: ${name}`).toMatch(new RegExp(`^ +${name}:( \\{|$)`, 'm'));
  }
});

it('docs/deploy.md states the reserved concurrency of serverless.yml', () => {
  const functions = Object.values(serverless.functions) as { reservedConcurrency: number | string }[];
  const [inProd, inDev] = [serverless.params.prod, {}].map((own) => {
    const params = { ...serverless.params.default, ...own };
    return functions.reduce((sum, { reservedConcurrency: one }) => {
      const [, name] = /^\$\{param:(\w+)\}$/.exec(String(one)) ?? [];
      return sum + Number(name ? params[name] : one);
    }, 0);
  }) as [number, number];
  const guide = text('docs/deploy.md').replace(/\s+/g, ' ');
  expect(guide).toContain(`${inProd} together in \`prod\` and ${inDev} in \`dev\``);
  expect(guide).toContain(`less than ${inProd + 100} (\`dev\`: ${inDev + 100})`);
});

it('docs/deploy.md states how many routes have metrics of their own, and what they cost at most', () => {
  const functions = Object.values(serverless.functions) as { events?: { httpApi?: unknown }[] }[];
  const routes = functions.flatMap(({ events = [] }) => events.filter(({ httpApi }) => httpApi)).length;
  const dollars = Math.ceil(routes * 6 * 0.3);
  expect(text('docs/deploy.md')).toContain(`| ≤ ${dollars} | ≤ ${dollars} | ${routes} routes × 6 × 0.30`);
});

it('CONTRIBUTING explains every folder of the project and of lib', () => {
  const folders = ['.', 'lib'].flatMap((dir) =>
    readdirSync(path.join(ROOT, dir), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && isOurs(`${entry.name}/`))
      .map(({ name }) => `\`${path.join(dir, name)}/`),
  );
  const named = text('CONTRIBUTING.md');
  expect(folders.filter((folder) => !named.includes(folder))).toEqual([]);
});

it('README links to every document', () => {
  const linked = [...text('README.md').matchAll(/\]\((docs\/[^)#]+)/g)].map(([, target]) => target);
  for (const file of documents.filter((one) => one.startsWith('docs/'))) expect(linked).toContain(file);
});

it('the CI workflow runs .ci/run on the Node of .nvmrc with read-only permissions, and uploads the package', () => {
  const { permissions, jobs } = parse(read('.github/workflows/ci.yml'));
  const { container, steps } = jobs.test as { container: string; steps: { run?: string; uses?: string }[] };
  expect(permissions).toEqual({ contents: 'read' });
  expect(container).toMatch(new RegExp(`^node:${read('.nvmrc').trim()}-`));
  const runs = steps.map(({ run = '' }) => run).join('\n');
  for (const command of ['.ci/run', 'npm audit', 'package -- --stage prod', 'npm run -s sbom'])
    expect(runs).toContain(command);
  expect(steps.at(-1)?.uses).toMatch(/^actions\/upload-artifact@/);
  for (const { uses } of steps)
    if (uses) expect(uses, 'an action of GitHub with a fixed major version').toMatch(/^actions\/[\w-]+@v\d+$/);
});
