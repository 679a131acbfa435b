import type { Reporter, TestCase } from 'vitest/node';

/** Says at the end of a run which tests need a program that is not installed, and how to get it. */
export default class LeftOut implements Reporter {
  readonly #notes = new Set<string>();

  onTestCaseResult(test: TestCase): void {
    const result = test.result();
    if (result.state === 'skipped' && result.note) this.#notes.add(`${test.name}. To run it: ${result.note}`);
  }

  onTestRunEnd(): void {
    for (const note of this.#notes) console.log(`Left out: ${note}`);
  }
}
