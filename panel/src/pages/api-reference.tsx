import { useLocation } from 'preact-iso/router';
import { type ApiDocument, fits, groupsOf } from '../data/openapi.ts';
import { useQuery } from '../data/query.ts';
import { ApiRoute } from '../ui/api-route.tsx';
import { Empty } from '../ui/empty.tsx';
import { Filters, TextFilter } from '../ui/filters.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { Page, Section } from '../ui/page.tsx';
import { withQuery } from '../url-state.ts';

const DOCUMENT = '/api/v1/openapi.json';

/** Every route, from the document that Berth serves. The open route and the search are in the URL. */
export default function ApiReference() {
  const known = useQuery<ApiDocument>(DOCUMENT);
  return (
    <Page
      title="API"
      actions={
        <a class="button plain" href={DOCUMENT} target="_blank" rel="noreferrer">
          OpenAPI 3.1
        </a>
      }
    >
      <Filters>
        <TextFilter name="search" label="Search" placeholder="path or words" />
      </Filters>
      <Loaded known={known} path={DOCUMENT}>
        {(document) => <Groups document={document} />}
      </Loaded>
    </Page>
  );
}

function Groups({ document }: { document: ApiDocument }) {
  const { query, route: go } = useLocation();
  const groups = groupsOf(document)
    .map((group) => ({ ...group, routes: group.routes.filter((one) => fits(one, query.search ?? '')) }))
    .filter(({ routes }) => routes.length > 0);
  if (groups.length === 0) return <Empty title="No route fits the search" />;
  // Read when it is set, because the search may have changed the URL since.
  const show = (id: string | undefined) => go(withQuery(location.pathname + location.search, { route: id }), true);
  return groups.map(({ name, description, routes }) => (
    <Section key={name} title={name} note={description}>
      <div class="api-routes">
        {routes.map((one) => (
          <ApiRoute
            key={one.operationId}
            route={one}
            document={document}
            isOpen={query.route === one.operationId}
            onToggle={(isOpen) => show(isOpen ? one.operationId : undefined)}
          />
        ))}
      </div>
    </Section>
  ));
}
