import { useRoute } from 'preact-iso/router';
import { brokerPath } from '../api/paths.ts';
import type { Broker as BrokerRow, GetMqttBrokersIdReply } from '../api/types.ts';
import { urlOf, useCounts } from '../data/brokers.ts';
import { useQuery } from '../data/query.ts';
import { canWrite } from '../session.ts';
import { Badge } from '../ui/badge.tsx';
import { BROKER_DIALOGS, BrokerDialog, type BrokerDoing } from '../ui/broker-dialogs.tsx';
import { BrokerState } from '../ui/broker-parts.tsx';
import { Button, ForWriters, LinkButton } from '../ui/button.tsx';
import { ConnectionTest } from '../ui/connection-test.tsx';
import { Curl } from '../ui/curl.tsx';
import { useDialog } from '../ui/dialog-state.ts';
import { type Fact, Facts } from '../ui/facts.tsx';
import { Loaded } from '../ui/loaded.tsx';
import { Code, Name } from '../ui/name.tsx';
import { Count } from '../ui/number.tsx';
import { Page, Section } from '../ui/page.tsx';
import { Table } from '../ui/table.tsx';
import { Age, Time } from '../ui/time.tsx';
import { withQuery } from '../url-state.ts';

export default function Broker() {
  const { id = '' } = useRoute().params;
  const path = brokerPath(id);
  const known = useQuery<GetMqttBrokersIdReply>(path);
  const broker = known.data?.data;
  const { open, start, close } = useDialog(BROKER_DIALOGS);
  return (
    <Page
      title={broker?.name ?? `Broker ${id}`}
      above={[['Brokers', '/brokers']]}
      actions={
        broker && (
          <>
            <LinkButton href={`/history?broker_id=${id}&kind=operator`}>History</LinkButton>
            <Actions broker={broker} start={start} />
          </>
        )
      }
    >
      <Loaded known={known} path={path}>
        {({ data }) => (
          <>
            <BrokerState broker={data} />
            {data.description && (
              <p class="wrap" dir="auto">
                {data.description}
              </p>
            )}
            <Counts broker={data} />
            <div class="columns">
              <Section title="Connection test">
                <ConnectionTest key={id} id={data.id} usesTls={['mqtts', 'wss'].includes(data.protocol)} />
              </Section>
              <Section title="Settings">
                <Settings broker={data} />
              </Section>
            </div>
            <Certificates broker={data} />
            <Curl request={{ method: 'GET', path }} />
            {open && canWrite.value && <BrokerDialog doing={open} broker={data} etag={known.etag} onClose={close} />}
          </>
        )}
      </Loaded>
    </Page>
  );
}

function Actions({ broker, start }: { broker: BrokerRow; start: (doing: BrokerDoing) => void }) {
  const { id, is_active, is_default, accepts_new_devices } = broker;
  return (
    <ForWriters>
      <LinkButton href={`/brokers/${id}/edit`} kind="primary">
        Edit
      </LinkButton>
      {!is_default && is_active && <Button onClick={() => start('default')}>Make default</Button>}
      {is_active && accepts_new_devices && <Button onClick={() => start('drain')}>Drain</Button>}
      {!accepts_new_devices && <Button onClick={() => start('accept')}>Accept devices again</Button>}
      {is_active ? (
        <Button onClick={() => start('deactivate')}>Deactivate</Button>
      ) : (
        <Button onClick={() => start('activate')}>Activate</Button>
      )}
      <Button kind="danger" onClick={() => start('delete')}>
        Delete
      </Button>
    </ForWriters>
  );
}

function Counts({ broker: { id, is_default } }: { broker: BrokerRow }) {
  const { all } = useCounts();
  const counts = all?.find((one) => one.id === id);
  return (
    <Section title="Devices" actions={<Age at={counts?.counted_at ?? undefined} verb="counted" />}>
      <Facts
        rows={[
          ['Assigned to it', <a href={`/devices?broker_id=${id}`}>{<Count value={counts?.assigned_count} />}</a>],
          ['Of these active', <Count value={counts?.active_assigned_count} />],
          ...(is_default
            ? [
                [
                  'Here because it is the default',
                  <a href="/devices?broker_id=none">{<Count value={counts?.following_default_count} />}</a>,
                ] as Fact,
              ]
            : []),
          [
            'Behind: still on former settings',
            <a key="behind" href={withQuery('/devices', { behind: true, broker_id: is_default ? undefined : id })}>
              <Count value={counts?.behind_count} />
            </a>,
          ],
        ]}
      />
    </Section>
  );
}

function Settings({ broker }: { broker: BrokerRow }) {
  const yes = (value: boolean | null) => (value ? 'yes' : 'no');
  return (
    <Facts
      rows={[
        ['Address', <Code text={urlOf(broker)} />],
        ['Verifies certificate', yes(broker.verify_certificate)],
        ['Client id prefix', <Code text={broker.client_id_prefix} />],
        ['Keep-alive', `${broker.keep_alive} s`],
        ['Clean session', yes(broker.clean_session)],
        ['Reconnect period', `${broker.reconnect_period} ms`],
        ['Connect timeout', `${broker.connect_timeout} ms`],
        ['Test’s user', <Name text={broker.username} />],
        ['Test’s password', broker.has_password ? 'stored' : 'none'],
        ['Region', <Name text={broker.region} />],
        ['Weight', String(broker.allocation_weight)],
        ['Type', <Name text={broker.broker_type} />],
        ['Last successful test', <Time at={broker.last_connected_at} />],
        ['Created', <Time at={broker.created_at} />],
        ['Changed', <Time at={broker.updated_at} />],
        ['Id', <Code text={broker.id} />],
      ]}
    />
  );
}

type Certificate = { use: string; subject: string; issuer: string; expires_at: string };
const DAY_MS = 86_400_000;

function Certificates({ broker: { ca_cert_info, client_cert_info } }: { broker: BrokerRow }) {
  const rows: Certificate[] = [
    ...(ca_cert_info ?? []).map((one) => ({ use: 'CA of the broker', ...one })),
    ...(client_cert_info ?? []).map((one) => ({ use: 'client of the test', ...one })),
  ];
  if (rows.length === 0) return null;
  return (
    <Section title="Certificates">
      <Table
        caption="Certificates of this broker"
        rows={rows}
        keyOf={({ use, subject, expires_at }) => `${use} ${subject} ${expires_at}`}
        columns={[
          { title: 'Subject', cell: ({ subject }) => <Name text={subject} /> },
          { title: 'Use', cell: ({ use }) => use },
          { title: 'Issuer', kind: 'minor', cell: ({ issuer }) => <Name text={issuer} /> },
          { title: 'Expires', cell: ({ expires_at }) => <Expiry at={expires_at} /> },
        ]}
      />
    </Section>
  );
}

function Expiry({ at }: { at: string }) {
  const days = (Date.parse(at) - Date.now()) / DAY_MS;
  const tone = days < 7 ? 'bad' : days < 30 ? 'warn' : 'neutral';
  return (
    <Badge tone={tone}>
      <Time at={at} />
    </Badge>
  );
}
