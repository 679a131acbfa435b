// The two of its functions that are used, loaded when they are: `import('bcryptjs')` itself bundles all of it.
export { compare, hash } from 'bcryptjs';
