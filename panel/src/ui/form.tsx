import { type Signal, useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';
import type { Failure } from '../api/failure.ts';
import { complaintOf, type Fields } from '../api/rules.ts';

/** The values of a form: text as it was typed, and whether a box is checked. */
export type Values = Record<string, string | boolean>;

export type Form = {
  values: Values;
  /** What is wrong, by field. */
  errors: Record<string, string>;
  rules: Fields;
  idOf: (name: string) => string;
  set: (name: string, value: string | boolean) => void;
  setAll: (values: Values) => void;
  /** Checks all fields by the specs' rules. Focuses the first wrong one. */
  check: () => boolean;
  /** Says what is wrong with one field, and focuses it. */
  complain: (name: string, message: string) => void;
  /** Shows what the API said at the fields. */
  fail: (failure: Failure | undefined) => void;
};

/**
 * A form's state. It keeps what was typed, whatever happens to the request.
 * @param stored of a form that changes something: its values before. Of these, only what may be null can be emptied
 */
export function useForm(rules: Fields, initial: () => Values, stored?: Values): Form {
  const values: Signal<Values> = useSignal(undefined as unknown as Values);
  values.value ??= initial();
  const errors = useSignal<Record<string, string>>({});
  const id = useId();
  const idOf = (name: string) => `${id}-${name}`;
  const show = (found: [name: string, message: string][]) => {
    errors.value = Object.fromEntries(found);
    const [first] = found;
    if (first) requestAnimationFrame(() => document.getElementById(idOf(first[0]))?.focus());
  };
  const complaintAt = (name: string, text: string) => {
    const rule = rules[name] ?? {};
    const isEmptied = text === '' && stored !== undefined && stored[name] !== '';
    if (isEmptied && !rule.nullable && rule.type !== 'object') return 'must not be empty';
    return complaintOf(rule, text);
  };
  return {
    get values() {
      return values.value;
    },
    get errors() {
      return errors.value;
    },
    rules,
    idOf,
    set: (name, value) => {
      values.value = { ...values.value, [name]: value };
      if (name in errors.value) {
        const { [name]: _, ...others } = errors.value;
        errors.value = others;
      }
    },
    setAll: (all) => {
      values.value = all;
      errors.value = {};
    },
    check: () => {
      const found = Object.entries(values.value).flatMap(([name, value]): [string, string][] => {
        const complaint = typeof value === 'string' ? complaintAt(name, value) : undefined;
        return complaint ? [[name, complaint]] : [];
      });
      show(found);
      return found.length === 0;
    },
    complain: (name, message) => show([[name, message]]),
    fail: (failure) => {
      const known = failure?.errors.filter(({ path }) => path in values.value) ?? [];
      show(known.map(({ path, message }) => [path, message]));
    },
  };
}

/** The members of a body: numbers as numbers. What is empty is left out. */
export function filledOf({ values, rules }: Form): Record<string, unknown> {
  const members = Object.entries(values).filter(([, value]) => value !== '');
  return Object.fromEntries(members.map(([name, value]) => [name, typed(rules[name]?.type, value)]));
}

/** The members that differ from the initial values. What was emptied is null. */
export function changesOf({ values, rules }: Form, initial: Values): Record<string, unknown> {
  const members = Object.entries(values).filter(([name, value]) => value !== initial[name]);
  return Object.fromEntries(
    members.map(([name, value]) => [name, value === '' ? null : typed(rules[name]?.type, value)]),
  );
}

function typed(type: string | undefined, value: string | boolean): unknown {
  return type === 'integer' || type === 'number' ? Number(value) : value;
}

type FieldProps = {
  form: Form;
  name: string;
  label: string;
  /** Default: the description of the specs. */
  hint?: ComponentChildren;
};

/** A label, an input, what the value means, and what is wrong with it. */
function Field({ form, name, label, hint, children }: FieldProps & { children: ComponentChildren }) {
  const id = form.idOf(name);
  const rule = form.rules[name];
  return (
    <div class="field">
      <label for={id}>
        {label}
        {rule?.required && <span class="required"> required</span>}
      </label>
      {children}
      <FieldNotes {...{ form, name, hint }} />
    </div>
  );
}

/** What is wrong with a field, and what its value means. */
function FieldNotes({ form, name, hint }: Omit<FieldProps, 'label'>) {
  const id = form.idOf(name);
  const error = form.errors[name];
  const text = hint ?? form.rules[name]?.description;
  return (
    <>
      {error && (
        <p class="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
      {text && (
        <p class="hint" id={`${id}-hint`}>
          {text}
        </p>
      )}
    </>
  );
}

/** What every input of a field has. */
function inputProps({ form, name, hint }: FieldProps) {
  const id = form.idOf(name);
  const rule = form.rules[name];
  const described = [form.errors[name] && `${id}-error`, (hint ?? rule?.description) && `${id}-hint`].filter(Boolean);
  return {
    id,
    name,
    'aria-invalid': form.errors[name] ? true : undefined,
    'aria-describedby': described.join(' ') || undefined,
    'aria-required': rule?.required || undefined,
  };
}

type TextProps = FieldProps & {
  type?: 'text' | 'password' | 'datetime-local';
  placeholder?: string;
  list?: string;
};

/** One line of text, or a number where the specs say so. */
export function TextField({ type = 'text', placeholder, list, ...props }: TextProps) {
  const { form, name } = props;
  const isNumber = form.rules[name]?.type === 'integer';
  return (
    <Field {...props}>
      <input
        {...inputProps(props)}
        {...{ placeholder, list }}
        type={type as 'text'}
        dir={isNumber ? 'ltr' : 'auto'}
        class={isNumber ? 'short' : ''}
        inputMode={isNumber ? 'numeric' : undefined}
        autocomplete={type === 'password' ? 'new-password' : 'off'}
        spellcheck={false}
        value={String(form.values[name] ?? '')}
        onInput={(event) => form.set(name, event.currentTarget.value)}
      />
    </Field>
  );
}

/** Several lines of text. `isCode`: in a fixed-width font, such as PEM. */
export function AreaField({
  rows = 3,
  isCode = false,
  placeholder,
  ...props
}: FieldProps & { rows?: number; isCode?: boolean; placeholder?: string }) {
  const { form, name } = props;
  return (
    <Field {...props}>
      <textarea
        {...inputProps(props)}
        {...{ rows, placeholder }}
        class={isCode ? 'code' : ''}
        dir={isCode ? 'ltr' : 'auto'}
        spellcheck={!isCode}
        value={String(form.values[name] ?? '')}
        onInput={(event) => form.set(name, event.currentTarget.value)}
      />
    </Field>
  );
}

/** One of several values. */
export function SelectField({ options, ...props }: FieldProps & { options: [value: string, text: string][] }) {
  const { form, name } = props;
  return (
    <Field {...props}>
      <select
        {...inputProps(props)}
        value={String(form.values[name] ?? '')}
        onChange={(event) => form.set(name, event.currentTarget.value)}
      >
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </Field>
  );
}

/** A box to check. */
export function CheckField(props: FieldProps) {
  const { form, name, label, hint } = props;
  const id = form.idOf(name);
  return (
    <div class="field check">
      <label for={id}>
        <input
          {...inputProps(props)}
          type="checkbox"
          checked={form.values[name] === true}
          onChange={(event) => form.set(name, event.currentTarget.checked)}
        />
        {label}
      </label>
      <FieldNotes {...{ form, name, hint }} />
    </div>
  );
}
