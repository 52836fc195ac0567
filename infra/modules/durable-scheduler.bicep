// Durable Task Scheduler: keeps the state of orchestrations instead of the storage account.

@description('Name of the scheduler.')
param name string
@description('Region.')
param location string
@description('Tags of every resource.')
param tags object
@description('Object id of the app\'s identity.')
param appPrincipalId string

// Built-in role: Durable Task Data Contributor
var dataContributor = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '0ad04412-c4d5-4796-b79c-f76d14c8d402'
)

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    ipAllowlist: ['0.0.0.0/0']
    sku: { name: 'Consumption' }
  }
}

resource taskHub 'Microsoft.DurableTask/schedulers/taskHubs@2026-02-01' = {
  parent: scheduler
  name: 'ShadowHubble'
  properties: {}
}

resource useTaskHub 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(taskHub.id, appPrincipalId, dataContributor)
  scope: taskHub
  properties: {
    roleDefinitionId: dataContributor
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

@description('Where the scheduler answers.')
output endpoint string = scheduler.properties.endpoint
@description('Task hub of the app.')
output taskHubName string = taskHub.name
