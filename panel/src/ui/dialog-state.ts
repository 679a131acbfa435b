import { useRef } from 'preact/hooks';
import { useLocation } from 'preact-iso/router';
import { withQuery } from '../url-state.ts';

/**
 * Which dialog of a page is open, as `?do=NAME`, so that Back closes it and a link can open it.
 * @param names the dialogs of the page; any other value opens none
 */
export function useDialog<Name extends string>(names: readonly Name[]) {
  const { query, url, route } = useLocation();
  const isOurs = useRef(false);
  const open = names.find((name) => name === query.do);
  return {
    open,
    start: (name: Name) => {
      isOurs.current = true;
      route(withQuery(url, { do: name }));
    },
    /** Leaves no second entry of the same page in the history, unless the dialog was opened by a link from elsewhere. */
    close: () => {
      if (isOurs.current) history.back();
      else route(withQuery(url, { do: undefined }), true);
      isOurs.current = false;
    },
  };
}
