// For `npm run mutate -- stryker FILE …`, which adds the files to mutate and their tests.

/** @type {import('@stryker-mutator/api/core').PartialStrykerOptions} */
export default {
  testRunner: 'vitest',
  plugins: ['@stryker-mutator/vitest-runner'],
  vitest: { related: false },
  // Most strings are SQL, which Stryker would replace as a whole, or texts for people. tests/mutations has the SQL.
  mutator: { excludedMutations: ['StringLiteral'] },
  // TypeScript 7 has no API for programs. Stryker needs it only to rewrite a tsconfig.json that refers to other directories.
  tsconfigFile: 'none.json',
  // Each mutant of what runs when a file is loaded (schemas, specs) repeats all tests. `--ignoreStatic false` includes them.
  ignoreStatic: true,
  coverageAnalysis: 'perTest',
  incremental: true,
  incrementalFile: '.stryker/incremental.json',
  tempDirName: '.stryker/tmp',
  ignorePatterns: ['.berth', '.serverless', '.esbuild', 'coverage', '.stryker'],
  // One test server, two cores.
  concurrency: 1,
  timeoutMS: 20_000,
  reporters: ['clear-text'],
  clearTextReporter: { logTests: false, allowColor: false, reportTests: false, allowEmojis: false },
  allowConsoleColors: false,
};
