/**
 * A file of the package other than its code, such as `migrations` or `certificates/rds/eu-central-1.pem`. This module is
 * one folder below the root. So are the bundles in functions/ and their chunks. Therefore one relative path fits all.
 *
 * @param path from the root of the repository or package
 */
export function packageFile(path: string): URL {
  return new URL(`../${path}`, import.meta.url);
}
