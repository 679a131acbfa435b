import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { buildPanel } from '../../panel/build.ts';

/** What a first visit may download, compressed. */
const MAX_FIRST_LOAD = 60 * 1024;

const outDir = mkdtempSync(path.join(tmpdir(), 'berth-panel-'));
const { index, assets } = await buildPanel({ outDir });
afterAll(() => rmSync(outDir, { recursive: true, force: true }));

const read = (name: string) => readFileSync(path.join(outDir, name), 'utf8');

it('the first load is at most 60 KB compressed', () => {
  const first = [index, ...assets.filter(({ isFirstLoad }) => isFirstLoad)];
  const sum = first.reduce((bytes, { gzip }) => bytes + gzip, 0);
  expect(first.length).toBeGreaterThan(4);
  expect(sum).toBeLessThanOrEqual(MAX_FIRST_LOAD);
});

it('a page is one request beyond the first load: what pages share is in one file', () => {
  const scripts = assets.filter(({ path: name }) => name.endsWith('.js'));
  expect(scripts.filter(({ isFirstLoad }) => isFirstLoad)).toHaveLength(3);
  expect(scripts.filter(({ path: name }) => name.startsWith('/assets/chunk-'))).toHaveLength(1);
});

it('the first load contains neither charts nor pages', () => {
  const first = assets.filter(({ isFirstLoad, path: name }) => isFirstLoad && name.endsWith('.js'));
  for (const { path: name } of first) {
    expect(read(name), name).not.toContain('uplot');
    expect(read(name), name).not.toContain('/rotate-credentials');
  }
});

it('index.html has no inline code and names only built files', () => {
  const html = read('index.html');
  expect(html).not.toMatch(/<style|style=|\son\w+=|javascript:/i);
  for (const [, attributes, content] of html.matchAll(/<script([^>]*)>([^<]*)/g)) {
    expect(attributes).toContain('src=');
    expect(content).toBe('');
  }
  const names = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name]) => name as string);
  for (const name of names) expect(assets.map((asset) => asset.path)).toContain(name);
  expect(html).not.toMatch(/https?:/);
});

it('each file has its hash in its name and lies there as .br and .gz too', () => {
  for (const { path: name } of assets) {
    expect(name).toMatch(/^\/assets\/[a-z-]+-[A-Z0-9]{8}\.(js|css|svg)$/);
    for (const ending of ['', '.br', '.gz']) expect(existsSync(path.join(outDir, name + ending))).toBe(true);
  }
  expect(readdirSync(path.join(outDir, 'assets'))).toHaveLength(assets.length * 3);
});

it('nothing in the panel writes HTML from text', () => {
  const sources = readdirSync(new URL('../../panel/src/', import.meta.url), { recursive: true, encoding: 'utf8' });
  for (const name of sources.filter((one) => /\.tsx?$/.test(one))) {
    const text = readFileSync(new URL(`../../panel/src/${name}`, import.meta.url), 'utf8');
    expect(text, name).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/);
    expect(text, `${name}: the CSP forbids style attributes`).not.toMatch(/\sstyle=/);
    for (const [, imported] of text.matchAll(/from '(\.[^']*)'/g)) {
      expect(path.posix.join('panel/src', path.dirname(name), imported as string), name).toMatch(/^panel\/src\//);
    }
  }
});
