import { announce } from '../announce.ts';
import { Button } from './button.tsx';

/** Copies a text. `what` says in the button's name what it is. */
export function CopyButton({ text, what }: { text: string; what: string }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      announce(`Copied ${what}`);
    } catch {
      announce('The browser does not allow copying. Select the text instead.');
    }
  };
  return (
    <Button onClick={copy} aria-label={`Copy ${what}`}>
      Copy
    </Button>
  );
}
