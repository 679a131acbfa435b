const { mkdirSync, rmSync } = require('node:fs');
const path = require('node:path');

/**
 * A plugin that gives each command a build folder of its own: serverless-esbuild deletes its folder when a package is
 * complete, and `npm start` may serve from it at that moment.
 */
module.exports = class Build {
  constructor(serverless) {
    const [command] = serverless.processedInput.commands;
    const isOffline = command === 'offline';
    // `npm start` runs once in a clone. Two packages may be made at the same time.
    const folder = path.join('.esbuild', isOffline ? command : `${command}-${process.pid}`);
    serverless.service.custom.esbuild.outputWorkFolder = folder;
    if (!isOffline) useForTemporaryFiles(path.join(serverless.serviceDir, folder));
  }
};

/** serverless-esbuild leaves a temporary folder for each function behind. */
function useForTemporaryFiles(dir) {
  const tmp = path.join(dir, 'tmp');
  mkdirSync(tmp, { recursive: true });
  for (const name of process.platform === 'win32' ? ['TEMP', 'TMP'] : ['TMPDIR']) process.env[name] = tmp;
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
}
