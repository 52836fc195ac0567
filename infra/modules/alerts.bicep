// What somebody is woken for. Each name is a section of docs/operations.md.

@description('Suffix of the resource names.')
param name string
@description('Region.')
param location string
@description('Tags of every resource.')
param tags object
@description('Addresses that alerts are mailed to.')
param emails string[]
@description('Function App.')
param appId string
@description('Address that is asked from outside every five minutes.')
param healthUrl string
@description('Database server.')
param serverId string
@description('Application Insights.')
param insightsId string
@description('Workspace of logs and traces.')
param workspaceId string
@description('User connections that the server allows.')
param connectionLimit int

var metricAlerts = [
  {
    name: 'http-5xx'
    description: 'More than 10 answers of 500 and above in five minutes.'
    severity: 1
    scope: appId
    namespace: 'Microsoft.Web/sites'
    metric: 'Http5xx'
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 10
  }
  {
    name: 'database-cpu'
    description: 'The database server is busier than 80 %.'
    severity: 2
    scope: serverId
    namespace: 'Microsoft.DBforPostgreSQL/flexibleServers'
    metric: 'cpu_percent'
    aggregation: 'Average'
    operator: 'GreaterThan'
    threshold: 80
  }
  {
    name: 'database-storage'
    description: 'The database\'s disk is fuller than 80 %.'
    severity: 2
    scope: serverId
    namespace: 'Microsoft.DBforPostgreSQL/flexibleServers'
    metric: 'storage_percent'
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: 80
  }
  {
    name: 'database-connections'
    description: 'More than 80 % of the connections that the server allows.'
    severity: 2
    scope: serverId
    namespace: 'Microsoft.DBforPostgreSQL/flexibleServers'
    metric: 'active_connections'
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: connectionLimit * 8 / 10
  }
  {
    name: 'database-down'
    description: 'The database does not answer.'
    severity: 0
    scope: serverId
    namespace: 'Microsoft.DBforPostgreSQL/flexibleServers'
    metric: 'is_db_alive'
    aggregation: 'Maximum'
    operator: 'LessThan'
    threshold: 1
  }
]

// Each counts rows; more than none is an alert.
var logAlerts = [
  {
    name: 'slow-scoring'
    description: 'One in a hundred scores took longer than 200 ms, in each of three windows of five minutes.'
    severity: 2
    window: 'PT5M'
    failing: 3
    query: 'AppTraces | where Message == "request" and tostring(Properties.function) == "score_transaction" | summarize p99 = percentile(todouble(Properties.duration_ms), 99), requests = count() | where requests >= 100 and p99 > 200'
  }
  {
    name: 'failed-timers'
    description: 'A timer failed twice within an hour.'
    severity: 2
    window: 'PT1H'
    failing: 1
    query: 'AppTraces | where Message == "timer_failed" | summarize failures = count() by timer = tostring(Properties.timer) | where failures >= 2'
  }
  {
    name: 'queue-age'
    description: 'Long work has been waiting for more than half an hour.'
    severity: 2
    window: 'PT15M'
    failing: 1
    query: 'AppTraces | where Message == "work_waiting" | where todouble(Properties.oldest_seconds) > 1800'
  }
  {
    name: 'scoring-refused'
    description: 'Scoring answered 503: its queue was full or the database away.'
    severity: 1
    window: 'PT5M'
    failing: 1
    query: 'AppTraces | where Message == "request" and tostring(Properties.function) in ("score_transaction", "score_transactions") and toint(Properties.status) == 503 | summarize refused = count() | where refused >= 20'
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-${name}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'shadowhubbl'
    emailReceivers: [
      for (email, index) in emails: { name: 'mail-${index}', emailAddress: email, useCommonAlertSchema: true }
    ]
  }
}

resource onMetrics 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for alert in metricAlerts: {
    name: '${name}-${alert.name}'
    location: 'global'
    tags: tags
    properties: {
      description: alert.description
      severity: alert.severity
      enabled: true
      scopes: [alert.scope]
      evaluationFrequency: 'PT1M'
      windowSize: 'PT5M'
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            name: alert.name
            criterionType: 'StaticThresholdCriterion'
            metricNamespace: alert.namespace
            metricName: alert.metric
            timeAggregation: alert.aggregation
            operator: alert.operator
            threshold: alert.threshold
          }
        ]
      }
      actions: [{ actionGroupId: people.id }]
    }
  }
]

resource onLogs 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in logAlerts: {
    name: '${name}-${alert.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      description: alert.description
      severity: alert.severity
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: 'PT5M'
      windowSize: alert.window
      autoMitigate: true
      skipQueryValidation: true // a table is there with its first row
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: {
              numberOfEvaluationPeriods: alert.failing
              minFailingPeriodsToAlert: alert.failing
            }
          }
        ]
      }
      actions: { actionGroups: [people.id] }
    }
  }
]

resource availability 'Microsoft.Insights/webtests@2022-06-15' = {
  name: 'web-${name}'
  location: location
  // The tag is how a test belongs to its Application Insights.
  tags: union(tags, { 'hidden-link:${insightsId}': 'Resource' })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: 'web-${name}'
    Name: 'ready'
    Kind: 'standard'
    Enabled: true
    Frequency: 300
    Timeout: 30
    RetryEnabled: true
    Locations: [
      { Id: 'emea-nl-ams-azr' }
      { Id: 'emea-gb-db3-azr' }
      { Id: 'us-va-ash-azr' }
      { Id: 'us-ca-sjc-azr' }
      { Id: 'apac-sg-sin-azr' }
    ]
    Request: {
      RequestUrl: healthUrl
      HttpVerb: 'GET'
      ParseDependentRequests: false
      FollowRedirects: false
    }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      SSLCheck: true
      SSLCertRemainingLifetimeCheck: 14
    }
  }
}

resource unavailable 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-unavailable'
  location: 'global'
  tags: tags
  properties: {
    description: 'The API does not answer in two places or more.'
    severity: 0
    enabled: true
    scopes: [availability.id, insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: availability.id
      componentId: insightsId
      failedLocationCount: 2
    }
    actions: [{ actionGroupId: people.id }]
  }
}
