/** Passed and failed tests of one part of the whole run. */
export const emptyTally = { passed: 0, failed: 0, skipped: 0 };

export const addTally = (a, b) => ({
  passed: a.passed + b.passed,
  failed: a.failed + b.failed,
  skipped: a.skipped + b.skipped,
});

/**
 * What vitest's JSON report says. A file that could not be loaded has no tests and counts as one failure; so does a run
 * that failed without a failing test (an unhandled error) or wrote no report.
 */
export const vitestTally = (report, exitCode) => {
  if (report === undefined) return { passed: 0, failed: 1, skipped: 0 };
  const brokenFiles = report.testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"),
  ).length;
  const failed = report.numFailedTests + brokenFiles;
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && exitCode !== 0 ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  };
};

/**
 * A native test program that ends with `N passed, N failed` says so itself; another counts as one test. A program that
 * ends badly has failed whatever it printed before.
 */
export const nativeTally = (output, exitCode) => {
  const counts = [...output.matchAll(/\b(\d+) passed, (\d+) failed\b/g)].at(-1);
  const passed = counts === undefined ? (exitCode === 0 ? 1 : 0) : Number(counts[1]);
  const failed = counts === undefined ? 0 : Number(counts[2]);
  return { passed, failed: exitCode !== 0 && failed === 0 ? 1 : failed, skipped: 0 };
};

/** The one plain line a test run ends with. Under CI a skipped test is an unmet need, and so a failure. */
export const summary = (tally, strict) => {
  const failed = tally.failed + (strict ? tally.skipped : 0);
  return { line: `${tally.passed} passed, ${failed} failed`, exitCode: failed === 0 ? 0 : 1 };
};
