// Shadow Hubble in one resource group. Sizes and options come from the parameter file of the environment.
targetScope = 'subscription'

@description('Name of the environment; part of every resource name.')
@minLength(2)
@maxLength(12)
param environmentName string

@description('Region. Zone redundancy and geo-redundant backup need one that offers both.')
param location string

@description('Resource group, made when it is missing.')
param resourceGroupName string = 'rg-shadow-hubble-${environmentName}'

@description('Tags of every resource.')
param tags object = {}

@description('Address space of the virtual network; /16 to /20.')
param addressPrefix string = '10.20.0.0/16'

@description('What signs people in and what the API is called there.')
param identityProvider {
  @description('The issuer that tokens must name, exactly.')
  issuer: string
  @description('The audience that tokens must name.')
  audience: string
  @description('Subjects (oid or sub) that become administrators at their first sign-in.')
  bootstrapAdmins: string[]
}

@description('SHA-256 digests (64 hexadecimal digits each) of the machine keys that may call predict.')
param functionKeyDigests string[] = []

@description('Name of the vault\'s secret that the secrets of webhooks derive from; empty until it is there (infra/secret.bicep makes it).')
param webhookKeySecret string = ''

@description('Entra group whose members administer the database in an emergency. Empty: nobody but the migration identity.')
param databaseAdministrators {
  @description('Display name of the group.')
  name: string
  @description('Object id of the group.')
  objectId: string
}[] = []

@description('Database server.')
param database {
  @description('Compute, for example Standard_D4ds_v5 (4 vCores).')
  skuName: string
  @description('Tier of the compute. PgBouncer is part of these two only.')
  skuTier: 'GeneralPurpose' | 'MemoryOptimized'
  @description('Disk in GiB; grows by itself.')
  storageSizeGB: int
  @description('A standby in another zone, in the same one, or none.')
  highAvailability: 'ZoneRedundant' | 'SameZone' | 'Disabled'
  @description('Days that backups are kept, 7 to 35.')
  backupRetentionDays: int
  @description('Copies of the backups in the paired region. Can be set at creation only.')
  geoRedundantBackup: 'Enabled' | 'Disabled'
  @description('A second server that only reads, in the same region.')
  readReplica: bool
  @description('Server connections that PgBouncer opens for the app.')
  pgbouncerPoolSize: int
}

@description('Function App.')
param app {
  @description('flex: Flex Consumption. premium: an App Service plan, Premium v3.')
  plan: 'flex' | 'premium'
  @description('Memory of a Flex Consumption instance in MB; 2048 has one core, 4096 two.')
  instanceMemoryMB: 512 | 2048 | 4096
  @description('Most instances.')
  maximumInstances: int
  @description('Instances that are always there for HTTP; on premium the least number of instances.')
  alwaysReadyHttp: int
  @description('Instances that are always there for orchestrations and activities.')
  alwaysReadyDurable: int
  @description('Requests at a time before another instance is added.')
  httpConcurrency: int
  @description('Spread over availability zones.')
  zoneRedundant: bool
}

@description('Where orchestrations keep their state: the storage account, or a Durable Task Scheduler.')
@allowed(['storage', 'scheduler'])
param durableProvider string = 'storage'

@description('Front Door with rate limiting before the app, which then takes requests from there only.')
param frontDoor bool = false

@description('Requests a minute from one address before Front Door refuses more.')
param requestsPerMinute int = 6000

@description('Addresses (CIDR) from which large datasets are uploaded straight to Blob. Empty: from the virtual network only.')
param uploadAddresses string[] = []

@description('Copies of stored blobs: Standard_ZRS three zones, Standard_GZRS also the paired region, Standard_LRS one zone.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GZRS'])
param storageSku string = 'Standard_ZRS'

@description('Days that logs and traces are kept.')
param logRetentionDays int = 90

@description('Share of requests that are traced, 0.0 to 1.0; logs and metrics are whole.')
param tracedShare string = '1.0'

@description('Days that the heads of the audit log cannot be changed or deleted.')
param auditRetentionDays int = 2557

@description('Addresses that alerts are mailed to.')
param alertEmails string[] = []

@description('Settings of the app that differ from their defaults; docs/settings.md has them all.')
param settings object = {}

var name = 'shadow-hubble-${environmentName}'
var unique = take(uniqueString(subscription().id, resourceGroupName, location), 8)
var compactName = 'sh${replace(environmentName, '-', '')}'
var allTags = union({ 'azd-env-name': environmentName, application: 'shadow-hubble' }, tags)

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: resourceGroupName
  location: location
  tags: allTags
}

module network 'modules/network.bicep' = {
  name: 'network'
  scope: group
  params: {
    name: name
    location: location
    tags: allTags
    addressPrefix: addressPrefix
    appDelegation: app.plan == 'flex' ? 'Microsoft.App/environments' : 'Microsoft.Web/serverFarms'
  }
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: name
    location: location
    tags: allTags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    name: name
    location: location
    tags: allTags
    retentionInDays: logRetentionDays
    appPrincipalId: identity.outputs.appPrincipalId
  }
}

module postgres 'modules/postgres.bicep' = {
  name: 'postgres'
  scope: group
  params: {
    name: 'psql-${name}-${unique}'
    location: location
    tags: allTags
    skuName: database.skuName
    skuTier: database.skuTier
    storageSizeGB: database.storageSizeGB
    highAvailability: database.highAvailability
    backupRetentionDays: database.backupRetentionDays
    geoRedundantBackup: database.geoRedundantBackup
    readReplica: database.readReplica
    pgbouncerPoolSize: database.pgbouncerPoolSize
    subnetId: network.outputs.databaseSubnetId
    privateDnsZoneId: network.outputs.databaseZoneId
    workspaceId: monitoring.outputs.workspaceId
    migratorName: identity.outputs.migratorName
    migratorPrincipalId: identity.outputs.migratorPrincipalId
    administrators: databaseAdministrators
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    dataAccountName: take('${compactName}data${unique}', 24)
    hostAccountName: take('${compactName}host${unique}', 24)
    location: location
    tags: allTags
    skuName: storageSku
    uploadAddresses: uploadAddresses
    auditRetentionDays: auditRetentionDays
    endpointSubnetId: network.outputs.endpointSubnetId
    blobZoneId: network.outputs.blobZoneId
    queueZoneId: network.outputs.queueZoneId
    tableZoneId: network.outputs.tableZoneId
    workspaceId: monitoring.outputs.workspaceId
    appPrincipalId: identity.outputs.appPrincipalId
  }
}

module keyVault 'modules/key-vault.bicep' = {
  name: 'key-vault'
  scope: group
  params: {
    name: take('kv-${compactName}-${unique}', 24)
    location: location
    tags: allTags
    functionKeyDigests: functionKeyDigests
    webhookKeySecret: webhookKeySecret
    endpointSubnetId: network.outputs.endpointSubnetId
    vaultZoneId: network.outputs.vaultZoneId
    workspaceId: monitoring.outputs.workspaceId
    appPrincipalId: identity.outputs.appPrincipalId
  }
}

module scheduler 'modules/durable-scheduler.bicep' = if (durableProvider == 'scheduler') {
  name: 'durable-scheduler'
  scope: group
  params: {
    name: 'dts-${name}-${unique}'
    location: location
    tags: allTags
    appPrincipalId: identity.outputs.appPrincipalId
  }
}

module front 'modules/front-door.bicep' = if (frontDoor) {
  name: 'front-door'
  scope: group
  params: {
    name: name
    tags: allTags
    appHostName: 'func-${name}-${unique}.azurewebsites.net'
    requestsPerMinute: requestsPerMinute
    workspaceId: monitoring.outputs.workspaceId
  }
}

module functionApp 'modules/function-app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    name: 'func-${name}-${unique}'
    location: location
    tags: allTags
    plan: app.plan
    instanceMemoryMB: app.instanceMemoryMB
    maximumInstances: app.maximumInstances
    alwaysReadyHttp: app.alwaysReadyHttp
    alwaysReadyDurable: app.alwaysReadyDurable
    httpConcurrency: app.httpConcurrency
    zoneRedundant: app.zoneRedundant
    subnetId: network.outputs.appSubnetId
    identityId: identity.outputs.appIdentityId
    identityName: identity.outputs.appIdentityName
    identityClientId: identity.outputs.appClientId
    databaseHost: postgres.outputs.hostName
    databaseName: postgres.outputs.databaseName
    blobAccountUrl: storage.outputs.blobAccountUrl
    blobContainer: storage.outputs.containerName
    auditContainer: storage.outputs.auditContainerName
    hostAccountName: storage.outputs.hostAccountName
    deploymentContainerUrl: storage.outputs.deploymentContainerUrl
    insightsConnectionString: monitoring.outputs.insightsConnectionString
    tracedShare: tracedShare
    workspaceId: monitoring.outputs.workspaceId
    functionKeysReference: keyVault.outputs.functionKeysReference
    webhookKeyReference: keyVault.outputs.webhookKeyReference
    issuer: identityProvider.issuer
    audience: identityProvider.audience
    bootstrapAdmins: identityProvider.bootstrapAdmins
    schedulerEndpoint: durableProvider == 'scheduler' ? scheduler!.outputs.endpoint : ''
    schedulerTaskHub: durableProvider == 'scheduler' ? scheduler!.outputs.taskHubName : ''
    frontDoorId: frontDoor ? front!.outputs.frontDoorId : ''
    settings: settings
  }
}

module migrations 'modules/migrations.bicep' = {
  name: 'migrations'
  scope: group
  params: {
    name: name
    registryName: take('${compactName}registry${unique}', 50)
    location: location
    tags: allTags
    subnetId: network.outputs.jobSubnetId
    workspaceId: monitoring.outputs.workspaceId
    identityId: identity.outputs.migratorIdentityId
    identityName: identity.outputs.migratorName
    identityClientId: identity.outputs.migratorClientId
    identityPrincipalId: identity.outputs.migratorPrincipalId
    databaseHost: postgres.outputs.hostName
    databaseName: postgres.outputs.databaseName
    appRole: identity.outputs.appIdentityName
    appPrincipalId: identity.outputs.appPrincipalId
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    name: name
    location: location
    tags: allTags
    emails: alertEmails
    appId: functionApp.outputs.id
    healthUrl: '${frontDoor ? front!.outputs.url : functionApp.outputs.url}/api/v1/health/ready'
    serverId: postgres.outputs.id
    insightsId: monitoring.outputs.insightsId
    workspaceId: monitoring.outputs.workspaceId
    connectionLimit: postgres.outputs.connectionLimit
  }
}

@description('Resource group that holds everything.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Where the API answers.')
output SERVICE_API_URL string = '${frontDoor ? front!.outputs.url : functionApp.outputs.url}/api/v1'

@description('The Function App, for deployments.')
output SERVICE_API_NAME string = functionApp.outputs.name

@description('Registry that the migration image is built in.')
output MIGRATION_REGISTRY string = migrations.outputs.registryName

@description('Job that runs the migrations.')
output MIGRATION_JOB string = migrations.outputs.jobName

@description('Vault of the app.')
output KEY_VAULT_NAME string = keyVault.outputs.name

@description('Database server, without PgBouncer (port 5432) and with it (6432).')
output DATABASE_HOST string = postgres.outputs.hostName

@description('Account of datasets, models and archives.')
output BLOB_ACCOUNT_URL string = storage.outputs.blobAccountUrl
