// The identity of the deployment workflow: GitHub's token for one environment of one repository is its only proof.

@description('Name of the environment, here and in GitHub.')
param environmentName string
@description('Region.')
param location string
@description('Repository, as OWNER/NAME.')
param repository string

// Built-in roles
var roles = {
  contributor: 'b24988ac-6180-42a0-ab88-20f7382dd24c'
  accessAdministrator: 'f58310d9-a9f6-439a-9e8d-f62e7b41a168'
}

// The roles that main.bicep gives: the deployer can give no other. A test compares them with the assignments.
var assignableRoles = [
  'ba92f5b4-2d11-453d-a403-e96b0029c9fe' // Storage Blob Data Contributor
  'db58b8e5-c6ad-4a2a-8342-4190687cbf4a' // Storage Blob Delegator
  'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner
  '974c5e8b-45b9-4653-ba55-5f855dd0fe88' // Storage Queue Data Contributor
  '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor
  '4633458b-17de-408a-b874-0445c86b69e6' // Key Vault Secrets User
  '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher
  '7f951dda-4ed3-4680-a7ca-43fe172d538d' // AcrPull
  '0ad04412-c4d5-4796-b79c-f76d14c8d402' // Durable Task Data Contributor
]
var onlyThese = '@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {${join(assignableRoles, ', ')}}'
var onlyTheseAsked = '@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {${join(assignableRoles, ', ')}}'
var condition = '((!(ActionMatches{\'Microsoft.Authorization/roleAssignments/write\'})) OR (${onlyTheseAsked})) AND ((!(ActionMatches{\'Microsoft.Authorization/roleAssignments/delete\'})) OR (${onlyThese}))'

resource deployer 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-shadow-hubble-${environmentName}-deployer'
  location: location
}

resource github 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = {
  parent: deployer
  name: 'github-${environmentName}'
  properties: {
    issuer: 'https://token.actions.githubusercontent.com'
    subject: 'repo:${repository}:environment:${environmentName}'
    audiences: ['api://AzureADTokenExchange']
  }
}

resource contribute 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, deployer.id, roles.contributor)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.contributor)
    principalId: deployer.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource giveRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, deployer.id, roles.accessAdministrator)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.accessAdministrator)
    principalId: deployer.properties.principalId
    principalType: 'ServicePrincipal'
    conditionVersion: '2.0'
    condition: condition
  }
}

@description('Client id of the deployer.')
output clientId string = deployer.properties.clientId
@description('Object id of the deployer.')
output principalId string = deployer.properties.principalId
