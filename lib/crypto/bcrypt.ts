// The two functions of bcryptjs that Berth uses, as a chunk that only requests with a bcrypt hash load.
// `import('bcryptjs')` would bundle the whole package.
export { compare, hash } from 'bcryptjs';
