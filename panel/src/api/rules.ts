/** What a field of a request may be. `constraints.ts` has those of the specs. */
export type Rule = {
  type?: string;
  required?: boolean;
  nullable?: boolean;
  enum?: string[];
  min?: number;
  max?: number;
  /** Lengths count code points, as the API does. */
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  description?: string;
};
export type Fields = Record<string, Rule>;

/**
 * What is wrong with the text of a field, in the words of the API; undefined: nothing that can be known here. An empty optional
 * field is not sent.
 */
export function complaintOf(rule: Rule, text: string): string | undefined {
  if (text === '') return rule.required ? 'is required' : undefined;
  if (rule.type === 'integer' || rule.type === 'number') return complaintOfNumber(rule, text);
  const length = [...text].length;
  const { maxLength = Number.POSITIVE_INFINITY, minLength = 0 } = rule;
  if (length > maxLength) return `must have at most ${maxLength} characters`;
  if (length < minLength) return `must have at least ${minLength} characters`;
  if (rule.enum && !rule.enum.includes(text)) return `must be one of ${rule.enum.join(', ')}`;
  if (rule.pattern && !new RegExp(rule.pattern, 'u').test(text)) {
    return text.trim() === '' ? 'must not be blank' : 'has characters that are not allowed';
  }
  return undefined;
}

function complaintOfNumber({ min, max }: Rule, text: string): string | undefined {
  const value = Number(text);
  const isInRange = value >= (min ?? Number.NEGATIVE_INFINITY) && value <= (max ?? Number.POSITIVE_INFINITY);
  if (Number.isInteger(value) && isInRange) return undefined;
  return min === undefined || max === undefined
    ? 'must be a whole number'
    : `must be a whole number from ${min} to ${max}`;
}
