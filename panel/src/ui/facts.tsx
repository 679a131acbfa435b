import type { ComponentChildren } from 'preact';

/** `wide`: a long value gets the whole width. */
export type Fact = [name: string, value: ComponentChildren, kind?: 'wide'];

/** Names and values. */
export function Facts({ rows }: { rows: Fact[] }) {
  return (
    <dl class="facts">
      {rows.map(([name, value, kind]) => (
        <div key={name} class={kind}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
