import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runtimeManifest } from './runtime-packages.ts';

/**
 * The software bill of materials (CycloneDX, JSON) of what is needed at run time.
 *
 * `npm sbom --omit dev` leaves out whatever a development package needs as well (npm 11.19: 56 of 89, `pg` among
 * them), so npm gets a lock file without those.
 */
export function sbom(): string {
  const parent = mkdtempSync(path.join(tmpdir(), 'berth-sbom-'));
  // npm takes the project's name from its directory's.
  const dir = path.join(parent, 'berth');
  const { manifest, lock } = runtimeManifest();
  try {
    mkdirSync(dir);
    writeFileSync(path.join(dir, 'package.json'), JSON.stringify(manifest));
    writeFileSync(path.join(dir, 'package-lock.json'), JSON.stringify(lock));
    const args = ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx', '--sbom-type', 'application'];
    return execFileSync('npm', args, { cwd: dir, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
}

if (import.meta.main) process.stdout.write(sbom());
