import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runtimeManifest } from './runtime-packages.ts';

/**
 * The software bill of materials (CycloneDX, JSON) of the packages that are needed at run time.
 *
 * `npm sbom --omit dev` omits every package that a development package also needs (npm 11.19: 56 of 89, including `pg`).
 * Therefore npm gets a lock file without development packages.
 */
export function sbom(): string {
  const parent = mkdtempSync(path.join(tmpdir(), 'berth-sbom-'));
  // npm names the project after its directory.
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
