// Names a chunk after the function that it belongs to: register.bcrypt-3NNXG2XH.mjs. serverless-esbuild packs a file with
// one function only if the name begins with that of the function's file. The chunk lies beside the function's module, so
// lib/package-file.ts finds the package's root from either.
const path = require('node:path');

module.exports = [
  {
    name: 'chunk-names',
    setup({ initialOptions }) {
      const [entry] = initialOptions.entryPoints;
      initialOptions.chunkNames = `${path.parse(entry).name}.[name]-[hash]`;
    },
  },
];
