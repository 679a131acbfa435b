import type { ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';

type Page = ComponentType;
/** A page that is loaded when it is first opened, or when a link to it is pointed at or focused. */
export type LazyPage = Page & { preload: () => void };

/** A page's code as a chunk of its own. preact-iso's `lazy` throws promises through Preact's internals; this needs none. */
export function lazyPage(load: () => Promise<{ default: Page }>): LazyPage {
  let loaded: Page | undefined;
  let loading: Promise<void> | undefined;
  const preload = () => {
    loading ??= load().then(
      (module) => {
        loaded = module.default;
      },
      (error) => {
        loading = undefined;
        throw error;
      },
    );
    return loading;
  };
  const Lazy = () => {
    const [, update] = useState(0);
    const [error, setError] = useState<unknown>();
    useEffect(() => {
      // Also when it is loaded by now: it may have arrived between the first rendering and this.
      preload().then(() => update(1), setError);
    }, []);
    if (error) return <LoadFailed />;
    const Loaded = loaded;
    return Loaded ? <Loaded /> : <p class="loading">Loading …</p>;
  };
  return Object.assign(Lazy, { preload: () => void preload().catch(() => {}) });
}

/** After a deployment the old names of chunks are gone. */
function LoadFailed() {
  return (
    <div class="problem" role="alert">
      <p class="problem-title">This page could not be loaded</p>
      <p>Berth may have been updated, or cannot be reached.</p>
      <button type="button" class="button plain" onClick={() => location.reload()}>
        Reload the panel
      </button>
    </div>
  );
}
