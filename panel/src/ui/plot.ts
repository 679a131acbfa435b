/** The charts' library, as a chunk of its own. */
export { default } from 'uplot';
