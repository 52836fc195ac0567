// Logs, traces and metrics: one workspace, and Application Insights over it.

@description('Suffix of the resource names.')
param name string
@description('Region.')
param location string
@description('Tags of every resource.')
param tags object
@description('Days that logs and traces are kept.')
param retentionInDays int
@description('Object id of the identity that sends telemetry.')
param appPrincipalId string

// Built-in role: Monitoring Metrics Publisher
var metricsPublisher = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '3913510d-42f4-4e42-8a64-420c390055eb'
)

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: 'log-${name}'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retentionInDays
    features: { disableLocalAuth: true }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${name}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    IngestionMode: 'LogAnalytics'
    DisableLocalAuth: true
  }
}

resource sendTelemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, appPrincipalId, metricsPublisher)
  scope: insights
  properties: {
    roleDefinitionId: metricsPublisher
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

@description('Resource id of the workspace.')
output workspaceId string = workspace.id
@description('Resource id of Application Insights.')
output insightsId string = insights.id
@description('Where telemetry is sent; it opens nothing without the identity.')
output insightsConnectionString string = insights.properties.ConnectionString
