const { existsSync } = require('node:fs');
const path = require('node:path');
const { reserved } = require('./functions.cjs');

/** Values of parameters that the default's type does not tell. */
const ONE_OF = {
  environment: ['aws', 'local'],
  endpoints: ['existing', 'create'],
  database: ['create', 'existing'],
  adminAuth: ['token', 'jwt', 'gateway'],
  logLevel: ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'SILENT', 'CRITICAL'],
};

/** Settings that functions get from secrets: readSettings accepts none that is missing. */
const SECRETS = { DATABASE_URL: 'postgres://localhost/berth', BERTH_PEPPER: '-'.repeat(32) };

/** Parameters whose default is an example. */
const NETWORK = ['vpcId', 'subnetIds', 'securityGroupId'];

/**
 * A plugin that refuses an unknown stage, unknown parameters and wrong values before anything is packaged, and examples before
 * anything is deployed. Whatever becomes a setting of the functions is checked as the functions check it.
 */
module.exports = class Parameters {
  constructor(serverless) {
    this.hooks = { initialize: () => check(serverless) };
  }
};

async function check(serverless) {
  const { params = {} } = serverless.configurationInput;
  const stage = serverless.getProvider('aws').getStage();
  checkStage(serverless, stage, Object.keys(params));
  const onCommandLine = parsed(serverless.processedInput.options.param);
  const known = Object.keys(params.default);
  const named = [onCommandLine, ...Object.values(params)].flatMap((some) => Object.keys(some ?? {}));
  const unknown = named.find((name) => !known.includes(name));
  if (unknown) fail(serverless, `There is no parameter ${unknown}. serverless.yml lists all, under params.`);
  const values = { ...params.default, ...params[stage], ...onCommandLine };
  for (const [name, value] of Object.entries(values)) {
    const allowed = allowedOf(name, params.default[name]);
    if (allowed && !allowed.isMet(String(value)))
      fail(serverless, `Parameter ${name} is "${value}": it must be ${allowed.text}.`);
  }
  await checkSettings(serverless, values);
  await checkPanel(serverless, values);
  if (values.environment === 'local') return;
  checkRegion(serverless);
  checkConnections(serverless, values);
  if (values.adminAuth === 'jwt' && String(values.outbound) === 'false')
    fail(
      serverless,
      'adminAuth=jwt needs outbound=true: functions fetch the keys of the issuer. Or use adminAuth=gateway.',
    );
  if (serverless.processedInput.commands.join(' ') === 'deploy') checkExamples(serverless, values, params.default);
}

/** An unknown stage would get the sizes of dev. Its name is part of names in AWS: the proxy's takes no other characters. */
function checkStage(serverless, stage, known) {
  const stages = known.filter((name) => name !== 'default');
  if (!stages.includes(stage))
    fail(serverless, `There is no stage ${stage}, but ${stages.join(', ')}. Add it to params in serverless.yml.`);
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(stage) || stage.length > 20)
    fail(serverless, `Stage ${stage}: use at most 20 lower-case letters, digits and single hyphens, a letter first.`);
}

/** Functions trust only the RDS roots of their region. */
function checkRegion(serverless) {
  const region = serverless.getProvider('aws').getRegion();
  if (!existsSync(path.join(__dirname, '..', 'certificates', 'rds', `${region}.pem`)))
    fail(serverless, `Berth has no RDS root certificate for region ${region}: certificates/rds/ lists the regions.`);
}

/** Without a proxy, each execution may hold a connection. */
function checkConnections(serverless, { database, databaseProxy, databaseConnections }) {
  const executions = reserved(serverless.service.functions);
  const hasProxy = database === 'create' && String(databaseProxy) === 'true';
  if (!hasProxy && executions > Number(databaseConnections))
    fail(
      serverless,
      `The functions may hold ${executions} database connections, more than databaseConnections (${databaseConnections}). ` +
        'Reserve less concurrency, or raise databaseConnections if the database has them.',
    );
}

function checkExamples(serverless, values, examples) {
  const names = [...NETWORK, ...(values.endpoints === 'create' ? ['routeTableIds'] : [])];
  if (values.database === 'existing') names.push('databaseSecretArn');
  if (values.adminAuth !== 'token') names.push('jwtIssuer');
  const example = names.find((name) => values[name] === examples[name]);
  if (example)
    fail(serverless, `Parameter ${example} is the example of serverless.yml: set your own (docs/deploy.md).`);
}

/** `--param name=value`, once or several times. */
function parsed(options = []) {
  return Object.fromEntries([options].flat().map((text) => [text.split('=')[0], text.slice(text.indexOf('=') + 1)]));
}

function allowedOf(name, preset) {
  const list = ONE_OF[name] ?? (/^(true|false)$/.test(preset) ? ['true', 'false'] : undefined);
  if (list) return { isMet: (value) => list.includes(value), text: list.join(' or ') };
  if (typeof preset !== 'number') return undefined;
  return { isMet: (value) => /^\d+(\.\d+)?$/.test(value), text: 'a number' };
}

/** A parameter that becomes a setting has its name: autoAssignBroker is AUTO_ASSIGN_BROKER. */
async function checkSettings(serverless, values) {
  const { readSettings, SettingsError } = await import('../lib/settings/settings.ts');
  for (const [name, value] of Object.entries(values)) {
    const setting = name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
    // Checked above: their parameters have other values than their settings.
    if (name in ONE_OF) continue;
    try {
      readSettings({ ...SECRETS, [setting]: String(value) });
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error;
      fail(serverless, `Parameter ${name}: ${error.message}`);
    }
  }
}

/** What the panel's function gets (infra/rights.yml). */
async function checkPanel(serverless, { adminAuth, jwtIssuer, panelOidcClientId, panelOidcOrigins }) {
  if (adminAuth === 'token') return;
  const { readSettings } = await import('../lib/settings/settings.ts');
  const { panelSettings } = await import('../lib/settings/panel.ts');
  const env = { PANEL_OIDC_CLIENT_ID: panelOidcClientId, PANEL_OIDC_ORIGINS: panelOidcOrigins };
  try {
    panelSettings(env, readSettings({ ...SECRETS, ADMIN_JWT_ISSUER: jwtIssuer }));
  } catch (error) {
    fail(serverless, `Parameters of the panel: ${error.message}`);
  }
}

function fail(serverless, message) {
  throw new serverless.classes.Error(message, 'INVALID_PARAMETER');
}
