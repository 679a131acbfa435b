import { randomBytes, randomUUID } from 'node:crypto';
import type { BenchKey } from './requests.ts';

/** A statement as the handler sent it. Knowing what each parameter is, others can take its place. */
export type Recorded = { text: string; parameters: Parameter[] };

type Changing = 'keyId' | 'keyHash' | 'keyHashes' | 'deviceKeyHash' | 'passwordHash' | 'salt' | 'requestId';
/** A parameter changes with each request, contains the uuid, or stays the same. */
type Parameter =
  | { is: Changing }
  | { is: 'withUuid'; before: string; after: string }
  | { is: 'constant'; value: string | boolean | null };

const BOOLEAN_OID = 16;

/**
 * @param values as sent; null: NULL
 * @param known the device and the key of the registration
 */
export function understand(
  { text, types, values }: { text: string; types: number[]; values: (string | null)[] },
  known: { uuid: string; key: BenchKey },
): Recorded {
  return { text, parameters: values.map((value, i) => parameterOf(value, types[i] === BOOLEAN_OID, known)) };
}

function parameterOf(value: string | null, isBoolean: boolean, known: { uuid: string; key: BenchKey }): Parameter {
  if (value === null) return { is: 'constant', value };
  if (isBoolean) return { is: 'constant', value: value === 't' };
  if (value === known.key.id) return { is: 'keyId' };
  if (value === known.key.hash) return { is: 'keyHash' };
  if (value === arrayOf(known.key.hash)) return { is: 'keyHashes' };
  if (value.startsWith('PBKDF2$')) return { is: 'passwordHash' };
  if (/^\w+\$[\w-]{43}$/.test(value)) return { is: 'deviceKeyHash' };
  if (/^\w+\$[\w-]{22}$/.test(value)) return { is: 'salt' };
  const at = value.indexOf(known.uuid);
  if (at >= 0) return { is: 'withUuid', before: value.slice(0, at), after: value.slice(at + known.uuid.length) };
  if (/^[0-9a-f-]{36}$/.test(value)) return { is: 'requestId' };
  return { is: 'constant', value };
}

/** A text[] of one element, as it is sent. */
function arrayOf(text: string): string {
  return `{"${text}"}`;
}

/** The parameters of another registration. Random texts stand in for hashes, at no cost. */
export function varied({ parameters }: Recorded, key: BenchKey): (string | boolean | null)[] {
  const uuid = randomUUID();
  const hash = randomBytes(32).toString('base64url');
  const changing: Record<Changing, string> = {
    keyId: key.id,
    keyHash: key.hash,
    keyHashes: arrayOf(key.hash),
    deviceKeyHash: `1$${hash}`,
    passwordHash: `PBKDF2$sha512$100$${hash.slice(0, 16)}$${hash}${hash}==`,
    salt: `1$${hash.slice(0, 22)}`,
    requestId: randomUUID(),
  };
  return parameters.map((parameter) => {
    if (parameter.is === 'constant') return parameter.value;
    if (parameter.is === 'withUuid') return parameter.before + uuid + parameter.after;
    return changing[parameter.is];
  });
}
