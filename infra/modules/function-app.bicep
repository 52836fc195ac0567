// The Function App with its plan and its settings.

@description('Name of the app.')
param name string
@description('Region.')
param location string
@description('Tags of every resource.')
param tags object
@description('flex: Flex Consumption. premium: an App Service plan, Premium v3.')
@allowed(['flex', 'premium'])
param plan string
@description('Memory of a Flex Consumption instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int
@description('Most instances.')
@minValue(1)
@maxValue(1000)
param maximumInstances int
@description('Instances that are always there for HTTP.')
param alwaysReadyHttp int
@description('Instances that are always there for orchestrations and activities.')
param alwaysReadyDurable int
@description('Requests at a time before another instance is added.')
@minValue(1)
@maxValue(1000)
param httpConcurrency int
@description('Spread over availability zones.')
param zoneRedundant bool
@description('Subnet that the app reaches the database, the accounts and the vault from.')
param subnetId string
@description('Resource id of the app\'s identity.')
param identityId string
@description('Name of the app\'s identity, which is its role in PostgreSQL.')
param identityName string
@description('Client id of the app\'s identity.')
param identityClientId string
@description('Database server.')
param databaseHost string
@description('Database.')
param databaseName string
@description('Account of datasets, models and archives.')
param blobAccountUrl string
@description('The app\'s container.')
param blobContainer string
@description('Container of the audit heads.')
param auditContainer string
@description('Account of the host.')
param hostAccountName string
@description('Container of the deployed package.')
param deploymentContainerUrl string
@description('Application Insights.')
param insightsConnectionString string
@description('Share of requests that are traced, 0.0 to 1.0.')
param tracedShare string
@description('Workspace for the platform\'s logs.')
param workspaceId string
@description('Key Vault reference of the machine keys\' digests; empty for none.')
param functionKeysReference string
@description('Key Vault reference of the key that the secrets of webhooks derive from; empty for none.')
param webhookKeyReference string
@description('The issuer that tokens must name.')
param issuer string
@description('The audience that tokens must name.')
param audience string
@description('Subjects that become administrators at their first sign-in.')
param bootstrapAdmins string[]
@description('Durable Task Scheduler; empty when the storage account keeps durable state.')
param schedulerEndpoint string
@description('Task hub of the scheduler.')
param schedulerTaskHub string
@description('The one Front Door that requests may come from; empty for any address.')
param frontDoorId string
@description('Settings of the app that differ from their defaults.')
param settings object

var flex = plan == 'flex'

// Port 6432 is PgBouncer. The user is the identity's role; without a password in the URL a token is used.
var appSettings = {
  DATABASE_URL: 'postgresql://${identityName}@${databaseHost}:6432/${databaseName}?sslmode=require'
  DATABASE_PREPARED_STATEMENTS: 'true'
  BLOB_ACCOUNT_URL: blobAccountUrl
  BLOB_CONTAINER: blobContainer
  AUDIT_CONTAINER: auditContainer
  OIDC_ISSUER: issuer
  OIDC_AUDIENCE: audience
  BOOTSTRAP_ADMINS: join(bootstrapAdmins, ',')
  FUNCTION_KEY_SHA256S: functionKeysReference
  WEBHOOK_SIGNING_KEY: webhookKeyReference
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
}

// What the host, the worker and the Azure libraries read.
var hostSettings = {
  AZURE_CLIENT_ID: identityClientId
  OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage'
  OTEL_TRACES_SAMPLER_ARG: tracedShare
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  AzureWebJobsStorage__accountName: hostAccountName
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
}

var premiumSettings = {
  FUNCTIONS_EXTENSION_VERSION: '~4'
  FUNCTIONS_WORKER_RUNTIME: 'python'
  SCM_DO_BUILD_DURING_DEPLOYMENT: 'true'
  ENABLE_ORYX_BUILD: 'true'
}

// They override host.json.
var schedulerSettings = {
  DURABLE_TASK_SCHEDULER_CONNECTION_STRING: 'Endpoint=${schedulerEndpoint};Authentication=ManagedIdentity;ClientID=${identityClientId}'
  AzureFunctionsJobHost__extensions__durableTask__hubName: schedulerTaskHub
  AzureFunctionsJobHost__extensions__durableTask__storageProvider__type: 'azureManaged'
  AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionStringName: 'DURABLE_TASK_SCHEDULER_CONNECTION_STRING'
}

var onlyFrontDoor = [
  {
    name: 'front-door'
    priority: 100
    action: 'Allow'
    tag: 'ServiceTag'
    ipAddress: 'AzureFrontDoor.Backend'
    headers: { 'x-azure-fdid': [frontDoorId] }
  }
]

var alwaysReady = [
  { name: 'http', instanceCount: alwaysReadyHttp }
  { name: 'durable', instanceCount: alwaysReadyDurable }
]

resource serverPlan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: flex ? 'functionapp' : 'linux'
  sku: flex
    ? { name: 'FC1', tier: 'FlexConsumption' }
    : { name: 'P1v3', tier: 'PremiumV3', capacity: alwaysReadyHttp }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: serverPlan.id
    httpsOnly: true
    clientAffinityEnabled: false
    clientCertEnabled: false
    publicNetworkAccess: 'Enabled'
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: subnetId
    outboundVnetRouting: { allTraffic: true }
    functionAppConfig: flex
      ? {
          deployment: {
            storage: {
              type: 'blobContainer'
              value: deploymentContainerUrl
              authentication: {
                type: 'UserAssignedIdentity'
                userAssignedIdentityResourceId: identityId
              }
            }
          }
          runtime: { name: 'python', version: '3.12' }
          scaleAndConcurrency: {
            instanceMemoryMB: instanceMemoryMB
            maximumInstanceCount: maximumInstances
            alwaysReady: filter(alwaysReady, group => group.instanceCount > 0)
            triggers: { http: { perInstanceConcurrency: httpConcurrency } }
          }
        }
      : null
    siteConfig: {
      alwaysOn: flex ? null : true
      linuxFxVersion: flex ? null : 'Python|3.12'
      healthCheckPath: flex ? null : '/api/v1/health/live'
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      remoteDebuggingEnabled: false
      ipSecurityRestrictions: empty(frontDoorId) ? [] : onlyFrontDoor
      ipSecurityRestrictionsDefaultAction: empty(frontDoorId) ? 'Allow' : 'Deny'
    }
  }
}

resource configuration 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: union(
    hostSettings,
    appSettings,
    flex ? {} : premiumSettings,
    empty(schedulerEndpoint) ? {} : schedulerSettings,
    settings
  )
}

resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: { allow: false }
}

resource noDeploymentPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: { allow: false }
}

resource autoscale 'Microsoft.Insights/autoscaleSettings@2022-10-01' = if (!flex) {
  name: 'scale-${name}'
  location: location
  tags: tags
  properties: {
    enabled: true
    targetResourceUri: serverPlan.id
    profiles: [
      {
        name: 'by-cpu'
        capacity: {
          minimum: string(alwaysReadyHttp)
          default: string(alwaysReadyHttp)
          maximum: string(min(maximumInstances, 30))
        }
        rules: [
          {
            metricTrigger: {
              metricName: 'CpuPercentage'
              metricResourceUri: serverPlan.id
              operator: 'GreaterThan'
              statistic: 'Average'
              threshold: 60
              timeAggregation: 'Average'
              timeGrain: 'PT1M'
              timeWindow: 'PT5M'
            }
            scaleAction: { direction: 'Increase', type: 'ChangeCount', value: '2', cooldown: 'PT5M' }
          }
          {
            metricTrigger: {
              metricName: 'CpuPercentage'
              metricResourceUri: serverPlan.id
              operator: 'LessThan'
              statistic: 'Average'
              threshold: 25
              timeAggregation: 'Average'
              timeGrain: 'PT1M'
              timeWindow: 'PT15M'
            }
            scaleAction: { direction: 'Decrease', type: 'ChangeCount', value: '1', cooldown: 'PT15M' }
          }
        ]
      }
    ]
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: app
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

@description('Resource id of the app.')
output id string = app.id
@description('Name of the app.')
output name string = app.name
@description('Public address of the app.')
output url string = 'https://${app.properties.defaultHostName}'
