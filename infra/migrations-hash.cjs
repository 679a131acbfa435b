const { createHash } = require('node:crypto');
const { readdirSync, readFileSync } = require('node:fs');
const path = require('node:path');

const DIR = path.join(__dirname, '..', 'migrations');

/** SHA-256 in hex of the names and contents of all migrations, in their order. */
module.exports = () => {
  const hash = createHash('sha256');
  for (const name of readdirSync(DIR).sort()) {
    if (/^\d.*\.sql$/.test(name))
      hash
        .update(`${name}\0`)
        .update(readFileSync(path.join(DIR, name)))
        .update('\0');
  }
  return hash.digest('hex');
};
