import { signal, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type UPlot from 'uplot';
import { theme } from '../theme.ts';
import { formatted } from './number.tsx';
import { Table } from './table.tsx';

/** Counts over time. Each series is named, and has a value for each time. */
export type Series = { name: string; values: number[] };
type Props = {
  /** What the chart shows: for its name, and that of its table. */
  title: string;
  /** Epoch milliseconds of each point, in order. */
  times: number[];
  /** At most {@link MAX_SERIES}; drawn on top of each other. */
  series: Series[];
  /** A time in words, as exact as the points are. */
  timeText: (at: number) => string;
};

/** The theme has this many colours for series. */
export const MAX_SERIES = 4;
const HEIGHT = 180;

/**
 * A chart of bars, one on top of the other, with the same numbers as a table. uPlot is loaded when the first chart is shown. It
 * draws on a canvas, so its colours are those of the theme at that time.
 */
export function Chart(props: Props) {
  const { title, times, series, timeText } = props;
  const pointed = useSignal<number | undefined>(undefined);
  const isOpen = useSignal(false);
  const index = pointed.value;
  return (
    <figure class="chart">
      <Canvas {...props} onPoint={(at) => (pointed.value = at)} />
      <p class="chart-legend" aria-hidden="true">
        <span class="chart-time">{index === undefined ? 'In all' : timeText(times[index] ?? 0)}</span>
        {series.map(({ name, values }, n) => (
          <span key={name} class={`series series-${n + 1}`}>
            {name} <strong>{formatted(index === undefined ? sum(values) : (values[index] ?? 0))}</strong>
          </span>
        ))}
      </p>
      <details class="chart-table" onToggle={(event) => (isOpen.value = event.currentTarget.open)}>
        <summary>{title} as a table</summary>
        {isOpen.value && <Numbers {...props} />}
      </details>
    </figure>
  );
}

function Numbers({ title, times, series, timeText }: Props) {
  const rows = times.map((at, index) => ({ at, values: series.map(({ values }) => values[index] ?? 0) }));
  const shown = rows.filter(({ values }) => values.some((value) => value > 0)).reverse();
  return (
    <>
      <p class="note">Newest first. Every time that is not listed has none.</p>
      <Table
        caption={title}
        columns={[
          { title: 'Time', cell: ({ at }) => <time dateTime={new Date(at).toISOString()}>{timeText(at)}</time> },
          ...series.map(({ name }, n) => ({
            title: name,
            kind: 'number' as const,
            cell: ({ values }: { values: number[] }) => formatted(values[n] ?? 0),
          })),
        ]}
        rows={shown}
        keyOf={({ at }) => at}
      />
    </>
  );
}

const prefersDark = matchMedia('(prefers-color-scheme: dark)');
const isDark = signal(prefersDark.matches);
prefersDark.addEventListener('change', () => {
  isDark.value = prefersDark.matches;
});

function Canvas({ title, times, series, onPoint }: Props & { onPoint: (index: number | undefined) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<UPlot>(undefined);
  const names = series.map(({ name }) => name).join('\n');
  const data = useRef<UPlot.AlignedData>([[]]);
  data.current = [times.map((at) => at / 1000), ...stacked(series)];
  const look = `${theme.value} ${isDark.value}`;
  useEffect(() => {
    let isGone = false;
    const resize = new ResizeObserver(([entry]) => {
      const width = Math.floor(entry?.contentRect.width ?? 0);
      if (width > 0) chart.current?.setSize({ width, height: HEIGHT });
    });
    // Failing to load leaves the numbers and the table.
    import('./plot.ts').then(
      ({ default: Plot }) => {
        if (isGone || !box.current) return;
        chart.current = new Plot(optionsOf(Plot, box.current, names.split('\n'), onPoint), data.current, box.current);
        resize.observe(box.current);
      },
      () => {},
    );
    return () => {
      isGone = true;
      resize.disconnect();
      chart.current?.destroy();
      chart.current = undefined;
    };
  }, [names, look]);
  useEffect(() => chart.current?.setData(data.current), [times, series]);
  const total = series.map(({ name, values }) => `${name}: ${formatted(sum(values))}`).join(', ');
  return (
    <div
      ref={box}
      class="chart-canvas"
      role="img"
      aria-label={`${title}. ${total}. The table below has all numbers.`}
    />
  );
}

/** Bars that hide each other's lower part: the first series is drawn first, and is as high as all together. */
function stacked(series: Series[]): number[][] {
  return series.map((_, first) =>
    (series[0]?.values ?? []).map((_value, at) =>
      series.slice(first).reduce((all, { values }) => all + (values[at] ?? 0), 0),
    ),
  );
}

function sum(values: number[]): number {
  return values.reduce((all, value) => all + value, 0);
}

function optionsOf(
  Plot: typeof UPlot,
  box: HTMLElement,
  names: string[],
  onPoint: (index: number | undefined) => void,
): UPlot.Options {
  const style = getComputedStyle(box);
  // As a style, because the variable itself is light-dark(), which a canvas does not know.
  const colour = (name: string) => {
    box.style.color = `var(${name})`;
    const { color } = style;
    box.style.color = '';
    return color;
  };
  const font = `12px ${style.fontFamily}`;
  const axis = {
    stroke: colour('--muted'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { show: false },
    font,
  };
  return {
    width: Math.max(200, Math.floor(box.clientWidth)),
    height: HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
    scales: { y: { range: (_chart, _min, max) => [0, Math.max(4, Math.ceil(max * 1.1))] } },
    axes: [
      {
        ...axis,
        // One line for times, two where days are named.
        size: (_chart, values) => (values?.some((value) => value?.includes('\n')) ? 46 : 28),
        values: [
          [86_400, '{D} {MMM}', null, null, null, null, null, null, 1],
          [3_600, '{HH}:{mm}', '\n{D} {MMM}', null, '\n{D} {MMM}', null, null, null, 1],
          [60, '{HH}:{mm}', null, null, null, null, null, null, 1],
        ],
      },
      {
        ...axis,
        size: 64,
        space: 26,
        incrs: [1, 2, 5]
          .flatMap((one) => [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].map((size) => one * size))
          .sort((a, b) => a - b),
        values: (_chart, values) => values.map((value) => formatted(value)),
      },
    ],
    series: [
      {},
      ...names.map((label, n) => ({
        label,
        fill: colour(`--series-${n + 1}`),
        width: 0,
        points: { show: false },
        paths: (Plot.paths.bars as UPlot.Series.BarsPathBuilderFactory)({ size: [0.8, 24, 1], align: 1 }),
      })),
    ],
    hooks: { setCursor: [({ cursor }) => onPoint(cursor.idx ?? undefined)] },
  };
}
