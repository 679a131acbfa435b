import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { guard } from '../../local/guard.ts';
import { freePort } from '../../local/ports.ts';
import { writeMosquittoFiles } from '../../tools/mosquitto-files.ts';
import type { Authority } from './certificates.ts';
import { isRoot, programPath } from './installed.ts';
import { type Program, run } from './stack.ts';

export type Mosquitto = Program & {
  ports: { tls: number; mutual: number; ws: number };
  /** Writes its files from the database, for this broker, and makes it read them. */
  reload: (databaseUrl: string, brokerId: number) => Promise<void>;
};

/** Starts a Mosquitto with listeners for TLS, mutual TLS and WebSockets. It knows no user yet. */
export async function startMosquitto(dir: string, authority: Authority): Promise<Mosquitto> {
  mkdirSync(dir, { recursive: true });
  const ports = { tls: await freePort(), mutual: await freePort(), ws: await freePort() };
  const { cert, key } = await authority.issue({ commonName: 'mosquitto', hosts: ['127.0.0.1', 'localhost'] });
  const files = { 'ca.pem': authority.cert, 'cert.pem': cert, 'key.pem': key, passwords: '', acls: '' };
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(dir, name), text);
  writeFileSync(path.join(dir, 'mosquitto.conf'), configuration(dir, ports));
  const program = run(programPath('mosquitto') as string, ['-c', path.join(dir, 'mosquitto.conf')], { cwd: dir });
  guard(program.child, 'SIGTERM');
  await program.says(/mosquitto version .* running/, 10_000);
  let reloads = 0;
  return {
    ...program,
    ports,
    reload: async (databaseUrl, brokerId) => {
      await writeMosquittoFiles({ databaseUrl, dir, brokerId });
      program.child.kill('SIGHUP');
      reloads += 1;
      const read = () => program.output().split('Reloading config').length > reloads;
      for (const end = Date.now() + 10_000; !read(); await sleep(20)) {
        if (Date.now() > end) throw new Error(`Mosquitto has not read its files:\n${program.output()}`);
      }
    },
  };
}

function configuration(dir: string, { tls, mutual, ws }: Mosquitto['ports']): string {
  const file = (name: string) => path.join(dir, name);
  const certificate = [`certfile ${file('cert.pem')}`, `keyfile ${file('key.pem')}`];
  const lines = [
    // By default root's Mosquitto becomes the user `mosquitto`, who may not enter a temporary directory.
    ...(isRoot ? ['user root'] : []),
    'allow_anonymous false',
    `password_file ${file('passwords')}`,
    `acl_file ${file('acls')}`,
    'log_dest stderr',
    'log_type all',
    ...[`listener ${tls} 127.0.0.1`, ...certificate],
    ...[`listener ${mutual} 127.0.0.1`, ...certificate, `cafile ${file('ca.pem')}`, 'require_certificate true'],
    ...[`listener ${ws} 127.0.0.1`, 'protocol websockets'],
  ];
  return `${lines.join('\n')}\n`;
}
