import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { cloneProject } from '../support/stack.ts';

const clone = cloneProject();
afterAll(() => clone.remove());

it('the files with pepper, admin token and provisioning key are readable only by their owner', () => {
  const script = `
    const { lockState, loadSecrets, unlockState, writeLocalFile } = await import('./local/state.ts');
    lockState();
    loadSecrets();
    writeLocalFile({ url: '', adminToken: '', provisioningKey: '', databaseUrl: '', brokers: [] });
    unlockState();`;
  execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: clone.dir });
  for (const name of ['secrets.json', 'local.json']) {
    expect(statSync(path.join(clone.dir, '.berth', name)).mode & 0o777, name).toBe(0o600);
  }
});
