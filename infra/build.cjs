const { existsSync, mkdirSync, rmSync, symlinkSync } = require('node:fs');
const path = require('node:path');

/**
 * A plugin that gives each command a build folder of its own: serverless-esbuild deletes its folder when a package is
 * complete, and `npm start` may serve from it at that moment. Before functions are built, it builds the panel.
 */
module.exports = class Build {
  constructor(serverless) {
    const [command] = serverless.processedInput.commands;
    const isOffline = command === 'offline';
    // `npm start` runs once in a clone. Two packages may be made at the same time.
    const folder = path.join('.esbuild', isOffline ? command : `${command}-${process.pid}`);
    serverless.service.custom.esbuild.outputWorkFolder = folder;
    if (!isOffline) useForTemporaryFiles(path.join(serverless.serviceDir, folder));
    this.hooks = {
      'before:package:createDeploymentArtifacts': buildPanel,
      'before:deploy:function:packageFunction': buildPanel,
      'before:offline:start:init': async () => {
        await buildPanel();
        linkPanelFiles(serverless.serviceDir, path.join(serverless.serviceDir, folder, '.build'));
      },
    };
  }
};

async function buildPanel() {
  const { buildPanelIfChanged } = await import('../tools/build-panel.ts');
  await buildPanelIfChanged();
}

/**
 * serverless-offline runs all functions from one folder, where serverless-esbuild puts no files of a single function. Links,
 * so that a panel that is built again is served immediately.
 */
function linkPanelFiles(root, buildDir) {
  for (const name of [path.join('panel', 'dist'), 'docs']) {
    const link = path.join(buildDir, name);
    if (existsSync(link)) continue;
    mkdirSync(path.dirname(link), { recursive: true });
    rmSync(link, { force: true });
    symlinkSync(path.join(root, name), link, 'junction');
  }
}

/** serverless-esbuild leaves a temporary folder for each function behind. */
function useForTemporaryFiles(dir) {
  const tmp = path.join(dir, 'tmp');
  mkdirSync(tmp, { recursive: true });
  for (const name of process.platform === 'win32' ? ['TEMP', 'TMP'] : ['TMPDIR']) process.env[name] = tmp;
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
}
