/**
 * A file that the package carries besides its code, such as `migrations` or `certificates/rds/eu-central-1.pem`. This
 * module is one folder below the root, as the bundles in functions/ are, so the same relative path fits both.
 *
 * @param path from the root of the repository or package
 */
export function packageFile(path: string): URL {
  return new URL(`../${path}`, import.meta.url);
}
