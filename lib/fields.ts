import * as z from 'zod/mini';

/** The largest value of a Postgres `integer`. */
export const MAX_INTEGER = 2_147_483_647;

const codePoints = (text: string): number => {
  let length = 0;
  for (const _ of text) length++;
  return length;
};

/**
 * A string that Postgres can store: at most `max` characters (code points, as varchar counts them), no NUL, and no lone
 * surrogate: different ones would be stored as the same character. The meta says the same for docs/openapi.json.
 */
export function text(max: number, description: string) {
  return z.string().check(
    z.refine((value) => codePoints(value) <= max, { message: `must have at most ${max} characters`, abort: true }),
    z.refine((value) => !value.includes('\0') && value.isWellFormed(), {
      message: 'must not contain NUL (\\u0000) or an unpaired surrogate',
    }),
    z.meta({ description, maxLength: max, pattern: '^[^\\u0000]*$' }),
  );
}

/** {@link text} that is not empty. */
export function requiredText(max: number, description: string) {
  return text(max, description).check(z.minLength(1, { message: 'must not be empty' }));
}

/** {@link text} that may be absent, null or empty. All three become undefined. */
export function optionalText(max: number, description: string) {
  return z.pipe(
    z.optional(z.nullable(text(max, description))),
    z.transform((value) => value || undefined),
  );
}

/** {@link text}. Null or an empty string removes it; both become null. */
export function clearable(max: number, description: string) {
  return z.pipe(
    z.optional(z.nullable(text(max, description))),
    z.transform((value) => (value === '' ? null : value)),
  );
}

const MAX_TAGS = 16;
const TAG_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/;
/** Without commas, which separate tags in a query, control characters and lone surrogates. */
const TAG_VALUE = /^[^,\p{Cc}\p{Cs}]{1,64}$/u;

/** Tags of a device: at most 16 short names with short values, such as `{"site": "berlin"}`. */
export function tags(description: string) {
  return z.record(z.string(), z.string().check(z.meta({ minLength: 1, maxLength: 64 }))).check(
    z.superRefine((tags, ctx) => {
      const complain = (path: string[], message: string) => ctx.addIssue({ code: 'custom', path, message });
      const pairs = Object.entries(tags);
      if (pairs.length > MAX_TAGS) complain([], `must have at most ${MAX_TAGS} tags`);
      for (const [name, value] of pairs) {
        if (!TAG_NAME.test(name)) {
          complain([name], 'has a name that is not 1 to 32 characters of A-Z a-z 0-9 . _ -, or begins with . _ -');
        } else if (!TAG_VALUE.test(value)) {
          complain([name], 'must be 1 to 64 characters without commas and control characters');
        }
      }
    }),
    z.meta({ description, maxProperties: MAX_TAGS, propertyNames: { type: 'string', pattern: TAG_NAME.source } }),
  );
}
export type Tags = Record<string, string>;

/** {@link tags} in a query: `site:berlin,line:3`, for {@link parseTags}. */
export function tagsText(description: string) {
  const areTags = (value: string) => {
    const { success, data } = tags('').safeParse(parseTags(value));
    return success && Object.keys(data).length === value.split(',').length;
  };
  return z
    .string()
    .check(
      z.refine(areTags, { message: 'must be tags such as site:berlin,line:3, each name once' }),
      z.meta({ description }),
    );
}

export function parseTags(value: string): Tags {
  const pairs = value.split(',').map((pair) => /^([^:]*):?(.*)$/s.exec(pair)?.slice(1) as [string, string]);
  return Object.fromEntries(pairs);
}

const UUID = /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;

/**
 * A device's identifier. It becomes part of an MQTT username and topic, so it must not contain a wildcard or a level
 * (`+ # /`). It must not be `.` or `..`, which URLs remove, or `bulk-assign`, which is a route. A value in RFC 4122 form
 * is converted to lower case.
 */
export const deviceUuid = z.pipe(
  z.string().check(
    z.regex(/^(?!(\.{1,2}|bulk-assign)$)[A-Za-z0-9._:-]{1,255}$/, {
      message: 'must be 1 to 255 characters of A-Z a-z 0-9 . _ : - (an RFC 4122 uuid is best)',
    }),
    z.meta({
      description: 'Device identifier',
      minLength: 1,
      maxLength: 255,
      examples: ['44faab1a-6b5e-4a53-8f0c-0d8c8b1e4f11', 'test-123'],
    }),
  ),
  z.transform((value) => (UUID.test(value) ? value.toLowerCase() : value)),
);

export function wholeNumber(min: number, max: number, description: string) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.int({ message }).check(z.gte(min, { message }), z.lte(max, { message }), z.meta({ description }));
}

/** The id of a row: a positive Postgres `integer`. */
export function rowId(description: string) {
  return wholeNumber(1, MAX_INTEGER, description);
}

/** The id of a provisioning key: an RFC 4122 uuid. */
export const rowUuid = z.pipe(
  z.string().check(z.regex(UUID, { message: 'must be the id of a provisioning key, an RFC 4122 uuid' })),
  z.transform((value) => value.toLowerCase()),
);

/** A whole number in a query, where every value is text. */
export function integerText(min: number, max: number, description: string) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.pipe(
    z.string().check(
      z.regex(/^\d{1,16}$/, { message, abort: true }),
      z.refine((value) => Number(value) >= min && Number(value) <= max, { message }),
      z.meta({ description, type: 'integer', minimum: min, maximum: max, pattern: undefined }),
    ),
    z.transform(Number),
  );
}

/** `true` or `false` in a query. */
export function booleanText(description: string) {
  return z.pipe(
    z
      .string()
      .check(
        z.regex(/^(true|false)$/, { message: 'must be true or false' }),
        z.meta({ description, type: 'boolean', pattern: undefined }),
      ),
    z.transform((value) => value === 'true'),
  );
}

/** The query parameters of a page: rows after the id `after`, at most `limit`. */
export const pageQuery = {
  limit: z.optional(integerText(1, 500, 'Rows per page. Default: 100')),
  after: z.optional(integerText(0, MAX_INTEGER, 'Rows after this id: `next` of the previous page')),
};
