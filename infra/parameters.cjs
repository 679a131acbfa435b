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

/**
 * A plugin that refuses unknown parameters and wrong values before anything is packaged. Whatever becomes a setting of the
 * functions is checked as the functions check it.
 */
module.exports = class Parameters {
  constructor(serverless) {
    this.hooks = { initialize: () => check(serverless) };
  }
};

async function check(serverless) {
  const { params = {} } = serverless.configurationInput;
  const onCommandLine = parsed(serverless.processedInput.options.param);
  const known = Object.keys(params.default);
  const named = [onCommandLine, ...Object.values(params)].flatMap((some) => Object.keys(some ?? {}));
  const unknown = named.find((name) => !known.includes(name));
  if (unknown) fail(serverless, `There is no parameter ${unknown}. serverless.yml lists all, under params.`);
  const values = { ...params.default, ...params[serverless.getProvider('aws').getStage()], ...onCommandLine };
  for (const [name, value] of Object.entries(values)) {
    const allowed = allowedOf(name, params.default[name]);
    if (allowed && !allowed.isMet(String(value)))
      fail(serverless, `Parameter ${name} is "${value}": it must be ${allowed.text}.`);
  }
  await checkSettings(serverless, values);
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

function fail(serverless, message) {
  throw new serverless.classes.Error(message, 'INVALID_PARAMETER');
}
