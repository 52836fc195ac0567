// A job inside the network that migrates the database under its own identity, and the registry of its image.

@description('Suffix of the resource names.')
param name string
@description('Name of the registry.')
param registryName string
@description('Region.')
param location string
@description('Tags of every resource.')
param tags object
@description('Subnet of the job.')
param subnetId string
@description('Workspace for the registry\'s log.')
param workspaceId string
@description('Resource id of the migration identity.')
param identityId string
@description('Name of the migration identity, which is its role in PostgreSQL.')
param identityName string
@description('Client id of the migration identity.')
param identityClientId string
@description('Object id of the migration identity.')
param identityPrincipalId string
@description('Database server.')
param databaseHost string
@description('Database.')
param databaseName string
@description('Role of the app, which is granted what it needs.')
param appRole string
@description('Object id of the app\'s identity.')
param appPrincipalId string

// Built-in role: AcrPull
var acrPull = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '7f951dda-4ed3-4680-a7ca-43fe172d538d')

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  name: registryName
  location: location
  tags: tags
  sku: { name: 'Basic' }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
  }
}

resource pullImages 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, identityPrincipalId, acrPull)
  scope: registry
  properties: {
    roleDefinitionId: acrPull
    principalId: identityPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource environment 'Microsoft.App/managedEnvironments@2025-07-01' = {
  name: 'cae-${name}'
  location: location
  tags: tags
  properties: {
    vnetConfiguration: { infrastructureSubnetId: subnetId, internal: true }
    workloadProfiles: [{ name: 'Consumption', workloadProfileType: 'Consumption' }]
    appLogsConfiguration: { destination: 'azure-monitor' }
  }
}

resource job 'Microsoft.App/jobs@2025-07-01' = {
  name: 'job-migrate'
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    environmentId: environment.id
    workloadProfileName: 'Consumption'
    configuration: {
      triggerType: 'Manual'
      replicaTimeout: 1800
      replicaRetryLimit: 0
      manualTriggerConfig: { parallelism: 1, replicaCompletionCount: 1 }
      registries: [{ server: registry.properties.loginServer, identity: identityId }]
    }
    template: {
      containers: [
        {
          name: 'migrate'
          // Replaced by infra/migrate/run.sh with the image of the commit.
          image: 'mcr.microsoft.com/k8se/quickstart-jobs:latest'
          command: ['python', '-m', 'sql.migrate', '--entra', '--app-role', appRole, '--app-object-id', appPrincipalId]
          resources: { cpu: json('0.5'), memory: '1Gi' }
          env: [
            { name: 'AZURE_CLIENT_ID', value: identityClientId }
            // Port 5432: the migrations' lock belongs to a session, which PgBouncer would not keep.
            { name: 'DATABASE_URL', value: 'postgresql://${identityName}@${databaseHost}:5432/${databaseName}?sslmode=require' }
          ]
        }
      ]
    }
  }
  dependsOn: [pullImages]
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: environment
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
  }
}

@description('Registry of the migration image.')
output registryName string = registry.name
@description('Job that migrates.')
output jobName string = job.name
